//! Merging two lists whose items are told apart.
//!
//! Answers: which items the merged list has, in which order. Refuses to know: how two items merge; `walk`
//! does. Upholds: the order of the real server's structured merge.

use serde_json::Value;

use super::set::Step;
use super::shape::Shapes;
use super::walk;

/// Merges two lists by their keys. Items of both sides stand in the order of the applied list; items of the
/// live list alone keep their place before the next shared item.
pub(super) fn merge(live: &[Value], applied: &[Value], shapes: Option<&Shapes>) -> Vec<Value> {
    let steps = |items: &[Value]| items.iter().map(|item| walk::step_of(item, shapes)).collect::<Vec<_>>();
    let (left, right) = (steps(live), steps(applied));
    let mut shared = right.iter().filter(|step| left.contains(step));
    let mut next_shared = shared.next();
    let mut done: Vec<&Step> = Vec::new();
    let mut out = Vec::new();
    let both = |step: &Step| {
        let old = left.iter().position(|own| own == step).map(|at| &live[at]);
        let new = right.iter().position(|own| own == step).map(|at| &applied[at]);
        walk::merge(old, new, walk::item_of(shapes))
    };
    let (mut l, mut r) = (0, 0);
    while l < left.len() || r < right.len() {
        if l < left.len() && r < right.len() {
            let step = &left[l];
            if *step == right[r] {
                done.push(step);
                out.extend(both(step));
                (l, r) = (l + 1, r + 1);
                next_shared = shared.next();
                continue;
            }
            if right.contains(step) && next_shared.is_some_and(|next| next != step) {
                l += 1;
                continue;
            }
        }
        if l < left.len() {
            let step = &left[l];
            if !right.contains(step) {
                out.push(live[l].clone());
                l += 1;
                continue;
            } else if done.contains(&step) {
                l += 1;
            }
        }
        if r < right.len() {
            let step = &right[r];
            done.push(step);
            out.extend(both(step));
            r += 1;
            if next_shared == Some(step) {
                next_shared = shared.next();
            }
        }
    }
    out
}
