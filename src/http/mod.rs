//! http
pub mod headers {
    #[derive(Clone, Copy, Debug)]
    pub struct HeadRef<'a> {
        pub buf: &'a [u8],
    }
}
