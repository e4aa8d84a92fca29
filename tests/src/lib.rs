//! Skeleton.
pub mod validation_cases;
