//! How many launches a captured step consists of, and how many of them come one after another: what a step of small
//! networks takes its time for. Counted on the simulated driver's graph, which is the one that a real driver is given.
#![cfg(target_os = "linux")]

mod problems;
#[path = "common/simulator.rs"]
mod simulator;

use problems::*;
use sfeuot::{
    Context, ContextConfig, CudaConfig, Data, DeviceKind, Divergence, NetworkSpec, Products, Trainer, TrainerConfig,
};

/// A node of a graph: what it does, and the nodes that it comes right after.
struct Node {
    name: String,
    after: Vec<usize>,
}

struct Graph(Vec<Node>);

impl Graph {
    /// The last one that the driver made ready.
    fn last() -> Self {
        let text = simulator::graph();
        let nodes = text.lines().map(|line| {
            let mut words = line.split(' ');
            let name = words.next().expect("a name").to_owned();
            Node { name, after: words.map(|number| number.parse().expect("a number")).collect() }
        });
        Self(nodes.collect())
    }

    /// Of each node, how many nodes the longest path that ends there has.
    fn depths(&self) -> Vec<usize> {
        let mut depths = Vec::new();
        for node in &self.0 {
            depths.push(1 + node.after.iter().map(|&before| depths[before]).max().unwrap_or(0));
        }
        depths
    }

    fn longest(&self) -> usize {
        self.depths().into_iter().max().unwrap_or(0)
    }

    /// The nodes of a longest path, first to last.
    fn path(&self) -> Vec<&str> {
        let depths = self.depths();
        let mut path = Vec::new();
        let mut here = (0..depths.len()).max_by_key(|&node| depths[node]);
        while let Some(node) = here {
            path.push(self.0[node].name.as_str());
            here = self.0[node].after.iter().copied().max_by_key(|&before| depths[before]);
        }
        path.reverse();
        path
    }

    fn count(&self, name: &str) -> usize {
        self.0.iter().filter(|node| node.name == name).count()
    }
}

/// The graph of a step, of its second half where the host draws.
fn captured(products: Products, clouds: &Clouds, config: TrainerConfig, sampled: bool) -> Graph {
    let cuda = CudaConfig { products, ..Default::default() };
    let context = Context::new(ContextConfig { device: DeviceKind::Cuda, cuda, threads: 1, ..Default::default() });
    let d = clouds.dimension;
    let sampler = |batch: &mut [f32], _: usize, d: usize| {
        batch.copy_from_slice(&floats(&normals(batch.len(), d as u64)));
        Ok(())
    };
    let source = match sampled {
        true => Data::Sampler { sample_shape: vec![d], sampler: Box::new(sampler) },
        false => array(&clouds.source, d),
    };
    Trainer::new(&context.expect("a GPU"), config, source, array(&clouds.target, d)).expect("a sound problem");
    Graph::last()
}

/// Prints a graph's longest path and holds it to these bounds.
fn held(what: &str, graph: &Graph, nodes: usize, longest: usize) {
    println!("{what}: {} nodes, {} of them on the longest path:", graph.0.len(), graph.longest());
    println!("  {}", graph.path().join(" "));
    assert!(graph.longest() <= longest, "{what}: {} nodes in a row", graph.longest());
    assert!(graph.0.len() <= nodes, "{what}: {} nodes", graph.0.len());
    assert_eq!(graph.count("fill"), 0, "{what}: what is constant is written once");
}

/// The batch does not matter to the count.
fn few(config: TrainerConfig) -> TrainerConfig {
    TrainerConfig { batch_sources: 4, ..config }
}

#[test]
fn a_step_is_few_launches_in_a_row() {
    if !simulator::simulated() || !simulator::load_with_compiler() {
        return;
    }
    let normal = TrainerConfig { sigma: 0.5, ..Default::default() };
    assert_eq!((normal.hidden_layers, normal.hidden_width), (3, 128));
    let step = |d, config| captured(Products::Fused, &Clouds::new(d), config, false);
    held("the default", &step(2, normal.clone()), 66, 39);

    let wide = TrainerConfig { hidden_width: 256, ..few(normal.clone()) };
    held("d = 16, 3 x 256", &step(16, wide), 66, 39);
    for divergence in Divergence::ALL {
        held(&format!("{divergence:?}"), &step(2, TrainerConfig { divergence, ..few(normal.clone()) }), 66, 39);
    }
    let clipped = TrainerConfig { gradient_clip: 1.0, decay_steps: 100, ..few(normal.clone()) };
    held("clipped", &step(2, clipped), 66, 39);
    // Two kernels for more components than one takes.
    held("many components", &step(2, TrainerConfig { components: 80, ..few(normal.clone()) }), 67, 40);
    let latents = TrainerConfig { latent_dimension: 4, ..few(normal.clone()) };
    held("latents", &step(2, latents.clone()), 63, 37);
    held("deterministic", &step(2, TrainerConfig { deterministic: true, ..latents }), 63, 37);
    held("no squares", &step(2, TrainerConfig { squares: false, ..few(normal.clone()) }), 66, 39);
    // Each network's squares are written with what it sees, whether or not the other network sees any.
    let [seen, unseen] = [true, false].map(|squares| Some(NetworkSpec { squares, ..NetworkSpec::default() }));
    for [value_network, generator_network] in [[&seen, &unseen], [&unseen, &seen]].map(|nets| nets.map(Clone::clone)) {
        let config = TrainerConfig { value_network, generator_network, ..few(normal.clone()) };
        held("squares in one network", &step(2, config), 66, 39);
    }
    // A layer more is one more forward, back, along the tangent and back from there, in one network after the other.
    held("five layers", &step(2, TrainerConfig { hidden_layers: 5, ..few(normal.clone()) }), 94, 55);
    // A half by itself has its batch and components to draw.
    held("half a step", &captured(Products::Fused, &Clouds::new(2), few(normal.clone()), true), 27, 23);
    // Peaks add themselves to V at the ends and at the states of both halves, and their plan in both passes of the
    // generator.
    let balanced = TrainerConfig { divergence: Divergence::Balanced, ..few(normal) };
    held("peaks", &captured(Products::Fused, &Clouds::clustered(2, 3), balanced, false), 71, 42);
}
