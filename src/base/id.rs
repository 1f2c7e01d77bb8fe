//! Places in one [`Plan`](crate::plan::Plan): small indexes that mean nothing in the next one. State that outlives a
//! reload is keyed by [`uuid::Uuid`] or name instead.

macro_rules! place {
    ($(#[$doc:meta] $name:ident),+ $(,)?) => {$(
        #[$doc]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);
        impl $name {
            /// As an index into the table of the same noun.
            pub fn ix(self) -> usize { self.0 as usize }
        }
    )+};
}

place! {
    /// Index into `Plan::routes`.
    RouteIx,
    /// Index into `Plan::services`.
    ServiceIx,
    /// Index into `Plan::upstreams`.
    UpstreamIx,
    /// Index into `Plan::consumers`.
    ConsumerIx,
    /// Index into `Plan::credentials`.
    CredentialIx,
    /// Index into `Plan::groups`.
    GroupIx,
    /// Index into `Plan::plugins`.
    PluginIx,
    /// Index into `Plan::listeners`.
    ListenerIx,
}
