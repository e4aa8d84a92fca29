//! Objects that are shared between states, and compared and hashed by a digest of 128 bits.
//!
//! A state holds a few pointers; an object that a hundred thousand states have in common is in memory once.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Deref;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use serde::Serialize;

/// A shared object with its digest.
pub(crate) struct Obj<T>(Arc<Shared<T>>);

struct Shared<T> {
    digest: u128,
    value: T,
}

/// All objects there are, by type and digest.
static POOL: LazyLock<Mutex<HashMap<(TypeId, u128), Pooled>>> = LazyLock::new(Mutex::default);

/// A shared object of whatever type.
type Pooled = Arc<dyn Any + Send + Sync>;

impl<T: Send + Sync + 'static> Obj<T> {
    /// An object of the Kubernetes API: its digest is that of its JSON.
    pub(crate) fn of(value: T) -> Self
    where
        T: Serialize,
    {
        let json = serde_json::to_vec(&value).expect("an object of the API is JSON");
        Self::pooled(value, digest(&json))
    }

    /// Anything else: its digest is that of its `Debug` text.
    pub(crate) fn shown(value: T) -> Self
    where
        T: fmt::Debug,
    {
        let text = format!("{value:?}");
        Self::pooled(value, digest(text.as_bytes()))
    }

    fn pooled(value: T, digest: u128) -> Self {
        let key = (TypeId::of::<T>(), digest);
        let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = pool.get(&key).cloned()
            && let Ok(shared) = known.downcast::<Shared<T>>()
        {
            return Self(shared);
        }
        let shared = Arc::new(Shared { digest, value });
        pool.insert(key, Arc::clone(&shared) as Pooled);
        Self(shared)
    }
}

impl<T> Obj<T> {
    /// The digest.
    pub(crate) fn digest(&self) -> u128 {
        self.0.digest
    }
}

/// Forgets every object that no state holds any more.
pub(crate) fn sweep() {
    POOL.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, shared| Arc::strong_count(shared) > 1);
}

fn digest(bytes: &[u8]) -> u128 {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(salt);
        hasher.write(bytes);
        u128::from(hasher.finish())
    };
    (half(0) << 64) | half(1)
}

impl<T> Clone for Obj<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Obj<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T> PartialEq for Obj<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.digest == other.0.digest
    }
}

impl<T> Eq for Obj<T> {}

impl<T> Hash for Obj<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.digest.hash(state);
    }
}

impl<T> fmt::Debug for Obj<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0.digest)
    }
}
