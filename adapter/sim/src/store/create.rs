//! Storing a new object.
//!
//! Answers: what a create makes of its body. Refuses to know: whether the namespace exists; every namespace
//! does. Upholds: a name is taken once; uid and creation time are the server's.

use std::sync::Arc;

use serde_json::{Value, json};

use super::update::Write;
use super::{Key, Kind, Part, State, check, meta, prepare, stamp};
use crate::apply;
use crate::error::{FieldError, StoreError};

/// An object on its way into the store.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    pub(crate) kind: Kind,
    /// The namespace of the request.
    pub(crate) namespace: &'a str,
    pub(crate) object: Value,
}

/// Generated names end in five of these, as the real server's do.
const SUFFIX_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LENGTH: usize = 5;
/// A name is at most a DNS label long, so a long `generateName` is cut.
const LONGEST_GENERATED_BASE: usize = 63 - SUFFIX_LENGTH;
/// The longest name of an object: that of a DNS subdomain.
const LONGEST_NAME: usize = 253;

impl State {
    /// Creates an object, recording its fields as written by an update of this manager.
    pub(crate) fn create(&mut self, draft: Draft<'_>, who: &Write<'_>) -> Result<Arc<Value>, StoreError> {
        let Draft { kind, namespace, mut object } = draft;
        meta::sound(kind, &object)?;
        if meta::version_of(&object) != 0 && !self.is_rehearsal() {
            let message = "resourceVersion should not be set on objects to be created";
            return Err(StoreError::plain(500, "", message));
        }
        meta::set(&mut object, "managedFields", Value::Null);
        prepare::wipe(&mut object);
        meta::tidy(kind, &mut object);
        prepare::default(kind, &mut object);
        apply::record_update(&self.shapes(kind), kind, Part::Main, None, &mut object, who);
        self.admit(Draft { kind, namespace, object }, who)
    }

    /// Stores an object whose managed fields are settled.
    pub(super) fn admit(&mut self, draft: Draft<'_>, who: &Write<'_>) -> Result<Arc<Value>, StoreError> {
        let Draft { kind, namespace, mut object } = draft;
        self.place(kind, namespace, &mut object)?;
        let name = meta::text(&object, "name").to_owned();
        let key = Key::new(kind, namespace, &name);
        let version = meta::metadata(&object)["resourceVersion"].clone();
        prepare::new_object(kind, &mut object);
        if self.is_rehearsal() {
            meta::set(&mut object, "resourceVersion", version);
        }
        let uid = self.mint_uid();
        meta::set(&mut object, "uid", json!(uid));
        meta::set(&mut object, "creationTimestamp", json!(stamp(who.now)));
        let is_fresh = prepare::lacks_default(kind, &object);
        prepare::derive_from_uid(kind, &mut object);
        let mut errors = name_errors(&name);
        errors.extend(check::owner_errors(&object));
        if !errors.is_empty() {
            return Err(StoreError::invalid(kind, &name, &errors));
        }
        let object =
            self.judged(kind, object, None).map_err(|errors| StoreError::invalid(kind, &name, &errors))?;
        if let Some(found) = self.find(&key) {
            let refusal = StoreError::already_exists(kind, &name);
            return Err(if meta::is_deleting(found) { refusal.while_deleting() } else { refusal });
        }
        let stored = self.put(&key, object);
        if is_fresh {
            self.note_fresh(&key);
        }
        Ok(stored)
    }

    /// Gives the object its name and namespace.
    fn place(&mut self, kind: Kind, namespace: &str, object: &mut Value) -> Result<(), StoreError> {
        let own = meta::namespace(object);
        if !own.is_empty() && own != namespace {
            let message =
                "the namespace of the provided object does not match the namespace sent on the request";
            return Err(StoreError::bad_request(message));
        }
        let place = if kind.is_namespaced() { json!(namespace) } else { Value::Null };
        meta::set(object, "namespace", place);
        let base = meta::text(object, "generateName").to_owned();
        if meta::text(object, "name").is_empty() && !base.is_empty() {
            let name = self.generated_name(&base);
            meta::set(object, "name", json!(name));
        }
        Ok(())
    }

    /// Has the plugged-in validator look at an object.
    pub(super) fn judged(
        &self,
        kind: Kind,
        object: Value,
        old: Option<&Value>,
    ) -> Result<Value, Vec<FieldError>> {
        match self.validator(kind) {
            None => Ok(object),
            Some(validator) => validator.judge(&object, old),
        }
    }

    fn generated_name(&mut self, base: &str) -> String {
        let uid = self.mint_uid();
        let digits = uid.bytes().filter(|byte| *byte != b'-');
        let letters = digits.take(SUFFIX_LENGTH * 2).collect::<Vec<_>>();
        let suffix = letters.chunks(2).map(|pair| {
            let number = pair.iter().fold(0_usize, |sum, byte| sum * 31 + usize::from(*byte));
            char::from(SUFFIX_LETTERS[number % SUFFIX_LETTERS.len()])
        });
        let base: String = base.chars().take(LONGEST_GENERATED_BASE).collect();
        base.chars().chain(suffix).collect()
    }
}

fn name_errors(name: &str) -> Vec<FieldError> {
    if name.is_empty() {
        return vec![FieldError::required("metadata.name", "name or generateName is required")];
    }
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_label = |label: &str| {
        !label.is_empty() && label.chars().all(is_inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    if name.len() <= LONGEST_NAME && name.split('.').all(is_label) {
        return Vec::new();
    }
    let why = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and \
               must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
               '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    vec![FieldError::invalid("metadata.name", &json!(name), why)]
}
