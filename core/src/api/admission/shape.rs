//! The plain schema: types, required fields, bounds, patterns, formats, enums, lists without duplicates.

use serde_json::{Map, Value};

use super::complaint as say;
use super::finding::Findings;
use super::site::{Site, has_same};
use super::value::{fits, is_time, matches, whole};

/// Checks a value and everything below it; what did not change needs no second look.
pub(super) fn check(site: &Site<'_>, found: &mut Findings) {
    if site.is_unchanged() {
        return;
    }
    if !has_type(site) {
        found.block(say::wrong_type(site));
        return;
    }
    match site.new {
        Value::Object(fields) => object(site, fields, found),
        Value::Array(items) => list(site, items, found),
        Value::String(text) => string(site, text, found),
        Value::Number(_) => number(site, found),
        Value::Null | Value::Bool(_) => {}
    }
    for child in site.children() {
        check(&child, found);
    }
}

fn has_type(site: &Site<'_>) -> bool {
    if site.is_set("x-kubernetes-int-or-string") {
        return site.new.is_string() || whole(site.new).is_some();
    }
    match site.word("type") {
        Some("object") => site.new.is_object(),
        Some("array") => site.new.is_array(),
        // The server lets a list pass where text has a format; a status written that way is stored.
        Some("string") => site.new.is_string() || (site.new.is_array() && site.word("format").is_some()),
        Some("boolean") => site.new.is_boolean(),
        Some("integer") => whole(site.new).is_some(),
        _ => true,
    }
}

fn object(site: &Site<'_>, fields: &Map<String, Value>, found: &mut Findings) {
    let required = site.list("required").iter().filter_map(Value::as_str);
    for name in required.filter(|name| !fields.contains_key(*name)) {
        found.block(say::missing(site, name));
    }
    if let Some(least) = site.number("minProperties")
        && count(fields.len()) < least
    {
        found.add(say::too_few(site, least));
    }
}

fn list(site: &Site<'_>, items: &[Value], found: &mut Findings) {
    if let Some(least) = site.number("minItems")
        && count(items.len()) < least
    {
        found.add(say::too_few(site, least));
    }
    let keys = site.list_keys();
    let is_same = |one: &Value, other: &Value| match site.word("x-kubernetes-list-type") {
        Some("set") => one == other,
        Some("map") => has_same(one, other, &keys),
        _ => false,
    };
    for (index, item) in items.iter().enumerate() {
        if items.iter().take(index).any(|earlier| is_same(earlier, item)) {
            found.add(say::duplicate(site, index));
        }
    }
}

fn string(site: &Site<'_>, text: &str, found: &mut Findings) {
    let length = count(text.chars().count());
    if site.number("minLength").is_some_and(|least| length < least) {
        found.add(say::empty(site));
    }
    if let Some(most) = site.number("maxLength").filter(|most| length > *most) {
        found.block(say::too_long(site, most));
    }
    if let Some(pattern) = site.word("pattern").filter(|pattern| !matches(pattern, text)) {
        found.add(say::no_match(site, pattern));
    }
    if site.word("format") == Some("date-time") && !is_time(text) {
        found.add(say::no_time(site));
    }
    let allowed = site.list("enum");
    if !allowed.is_empty() && !allowed.contains(site.new) {
        found.block(say::not_one_of(site, allowed));
    }
}

fn number(site: &Site<'_>, found: &mut Findings) {
    let Some(number) = whole(site.new) else { return };
    if let Some(format) = site.word("format").filter(|format| !fits(number, format)) {
        found.add(say::out_of_range(site, format));
    }
    let least = site.keyword("minimum").and_then(Value::as_i64);
    if let Some(least) = least.filter(|least| number < *least) {
        found.add(say::too_small(site, least));
    }
}

/// A count as schemas have it; saturates where no count can reach.
fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
