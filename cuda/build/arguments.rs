//! The kernels for Rust: one enum of their names, and a struct of named arguments for every list of parameters.

use super::signatures::{Kernel, Kind, Parameter, Shared, Value};
use std::fmt::Write;

/// The text that src/device/cuda/kernels.rs includes, of kernels in the order of their names. Those of one file with
/// the same parameters have one struct, which is named after the first of them.
pub fn write(kernels: &[Kernel]) -> String {
    let mut text = String::new();
    enumerate(&mut text, kernels);
    let mut shared: Vec<&Shared> = Vec::new();
    for (index, kernel) in kernels.iter().enumerate() {
        let same = |other: &&Kernel| other.file == kernel.file && other.parameters == kernel.parameters;
        if kernels[..index].iter().any(|other| same(&other)) {
            continue;
        }
        for parameter in &kernel.parameters {
            if let Parameter::Shared(group) = parameter
                && !shared.contains(&group)
            {
                shared.push(group);
            }
        }
        let family: Vec<_> = kernels[index..].iter().filter(same).map(|kernel| kernel.name.as_str()).collect();
        arguments(&mut text, kernel, &family);
    }
    for group in shared {
        let macro_name = format!("{}_PARAMETERS", group.name.to_uppercase());
        line(
            &mut text,
            &format!(
                "/// Parameters that kernels of cuda/{0} share, `{macro_name}` there; cuda/{0} says what they are.",
                group.file
            ),
        );
        line(&mut text, "#[derive(Clone, Copy)]");
        line(&mut text, &format!("pub(crate) struct {} {{", camel_case(&macro_name)));
        group.values.iter().for_each(|value| field(&mut text, value));
        line(&mut text, "}\n");
    }
    text
}

fn enumerate(text: &mut String, kernels: &[Kernel]) {
    line(text, "/// A kernel of cuda/.");
    line(text, "#[derive(Clone, Copy, Debug, PartialEq, Eq)]");
    line(text, "pub(crate) enum Kernel {");
    for kernel in kernels {
        line(text, &format!("    /// Its contract stands in cuda/{}.", kernel.file));
        line(text, &format!("    {},", camel_case(&kernel.name)));
    }
    line(text, "}\n");
    line(text, "impl Kernel {");
    line(text, "    /// Names in the order of the variants.");
    line(text, "    pub const NAMES: &[&CStr] = &[");
    for kernel in kernels {
        line(text, &format!("        c\"{}\",", kernel.name));
    }
    line(text, "    ];");
    line(text, "}\n");
    let most = kernels.iter().map(|kernel| members(kernel).len()).max().unwrap_or(0);
    line(text, "/// Parameters of a kernel at most.");
    line(text, &format!("pub(super) const MOST_ARGUMENTS: usize = {most};\n"));
}

/// The struct of the kernels `family`, which take what `kernel` does.
fn arguments(text: &mut String, kernel: &Kernel, family: &[&str]) {
    let name = camel_case(&kernel.name);
    let takes = if family.len() == 1 { "takes" } else { "take" };
    line(text, &format!("/// What `{}` {takes}; cuda/{} says what it is.", family.join("`, `"), kernel.file));
    line(text, "#[derive(Clone, Copy)]");
    line(text, &format!("pub(crate) struct {name} {{"));
    for parameter in &kernel.parameters {
        match parameter {
            Parameter::One(value) => field(text, value),
            Parameter::Shared(group) => {
                let of = camel_case(&format!("{}_PARAMETERS", group.name));
                line(text, &format!("    pub {}: {of},", group.name));
            }
        }
    }
    line(text, "}\n");
    let members = members(kernel);
    let kernels: Vec<_> = family.iter().map(|name| format!("Kernel::{}", camel_case(name))).collect();
    line(text, &format!("impl Arguments for {name} {{"));
    line(text, &format!("    const KERNELS: &'static [Kernel] = &[{}];", kernels.join(", ")));
    line(text, &format!("    type List = [Argument; {}];\n", members.len()));
    line(text, "    fn list(&self) -> Self::List {");
    line(text, "        [");
    for member in members {
        line(text, &format!("            Argument::from(self.{member}),"));
    }
    line(text, "        ]");
    line(text, "    }");
    line(text, "}\n");
    if family.len() == 1 {
        line(text, &format!("impl ArgumentsOfOne for {name} {{}}\n"));
    }
}

/// The parameters in their order, as they are reached from a kernel's struct.
fn members(kernel: &Kernel) -> Vec<String> {
    let of = |parameter: &Parameter| match parameter {
        Parameter::One(value) => vec![value.name.clone()],
        Parameter::Shared(group) => group.values.iter().map(|value| format!("{}.{}", group.name, value.name)).collect(),
    };
    kernel.parameters.iter().flat_map(of).collect()
}

fn field(text: &mut String, value: &Value) {
    let of = match value.kind {
        Kind::Address | Kind::U64 => "u64",
        Kind::U32 => "u32",
        Kind::F32 => "f32",
        Kind::F64 => "f64",
    };
    line(text, &format!("    /// `{}`", value.declared));
    line(text, &format!("    pub {}: {of},", value.name));
}

/// `product_silu` as `ProductSilu`.
fn camel_case(name: &str) -> String {
    let word = |word: &str| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_uppercase() + &rest.to_lowercase()
    };
    name.split('_').map(word).collect()
}

fn line(text: &mut String, of: &str) {
    writeln!(text, "{of}").expect("a string grows");
}
