//! The groups of the expression by which a route's path was found, for plugins that ask for them.

/// What the groups of a path's expression matched. They are searched when they are asked for, so that requests nobody asks
/// about cost nothing; each question is a search, O(path).
pub trait Captures {
    /// The group at this place; 0 is all that the expression matched.
    fn at(&self, group: usize) -> Option<&[u8]>;

    /// The group of this name.
    fn named<'a>(&'a self, name: &str) -> Option<&'a [u8]>;

    /// Tells of every group but 0 that took part: its place, its name, its bytes.
    fn each(&self, told: &mut dyn FnMut(usize, Option<&str>, &[u8]));
}

/// For requests whose route has no expression.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCaptures;

impl Captures for NoCaptures {
    fn at(&self, _: usize) -> Option<&[u8]> {
        None
    }

    fn named<'a>(&'a self, _: &str) -> Option<&'a [u8]> {
        None
    }

    fn each(&self, _: &mut dyn FnMut(usize, Option<&str>, &[u8])) {}
}
