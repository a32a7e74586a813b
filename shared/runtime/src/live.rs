//! Values that can be replaced while others use them.

use std::{fmt, sync::Arc};

use parking_lot::RwLock;

/// A value that all its copies share, and that can be replaced. Whoever has taken it before keeps
/// the earlier one until they are done. `{:?}` prints nothing of it: most are secrets.
pub struct Live<T>(Arc<RwLock<Arc<T>>>);

impl<T> Live<T> {
    /// Shares a value, until it is replaced.
    pub fn new(value: T) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(value))))
    }

    /// The value as it is now.
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.read())
    }

    /// Replaces the value everywhere by that of another.
    pub fn replace_by(&self, other: &Self) {
        let value = other.get();
        *self.0.write() = value;
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Live<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Live(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_stays_and_what_is_taken_next_is_new() {
        let value = Live::new("old".to_owned());
        let copy = value.clone();
        let taken = copy.get();
        value.replace_by(&Live::new("new".to_owned()));
        assert_eq!((taken.as_str(), copy.get().as_str()), ("old", "new"));
        assert!(!format!("{value:?}").contains("new"));
        value.replace_by(&copy);
        assert_eq!(value.get().as_str(), "new");
    }
}
