//! Loops over numbers that the compiler makes vectors of, once more with the widest vectors of the processor. Results have the
//! same bits with any: no sum is taken in another order.

/// Defines a function for the processor that it runs on, from one body.
macro_rules! with_vectors {
    ($(#[$about:meta])* $visibility:vis fn $name:ident($($argument:ident: $of:ty),* $(,)?) $body:block) => {
        $(#[$about])*
        $visibility fn $name($($argument: $of),*) {
            #[inline(always)]
            fn plain($($argument: $of),*) $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f")]
                fn wide($($argument: $of),*) {
                    plain($($argument),*);
                }
                #[target_feature(enable = "avx2")]
                fn narrow($($argument: $of),*) {
                    plain($($argument),*);
                }
                if std::is_x86_feature_detected!("avx512f") {
                    // SAFETY: the processor has the feature.
                    return unsafe { wide($($argument),*) };
                }
                if std::is_x86_feature_detected!("avx2") {
                    // SAFETY: the processor has the feature.
                    return unsafe { narrow($($argument),*) };
                }
            }
            plain($($argument),*);
        }
    };
}
pub(crate) use with_vectors;
