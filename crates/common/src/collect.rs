//! Maps and sets that are made of what comes one after the other.
//!
//! Their own `collect` sorts everything first, and the program would hold one more copy of the sort for each place that
//! does so: all of them together are larger than some of its commands. Ours are small, and made now and then.

/// A map or a set of these, put into it one after the other.
pub fn inserted<C: Default + Extend<T>, T>(all: impl IntoIterator<Item = T>) -> C {
    let mut collection = C::default();
    collection.extend(all);
    collection
}
