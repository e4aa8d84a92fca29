//! Why settings are refused, in words that name the key and the remedy.

use crate::quantity::QuantityError;

/// Why the text of an app-config file, or the gateway variables beside it, can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlatformError {
    /// The text is no YAML, or uses a part of YAML that settings have no use for.
    #[error("line {line} is not usable YAML: {detail}; correct the line")]
    Yaml {
        /// Line, from 1.
        line: usize,
        /// What the parser said.
        detail: String,
    },
    /// A value of another shape stands where the key wants one.
    #[error("{key} must be {wanted}, not {found}; write it as {wanted}")]
    Shape {
        /// Dotted key.
        key: String,
        /// The shape that belongs there.
        wanted: &'static str,
        /// The shape that stands there.
        found: &'static str,
    },
    /// A required text is missing or blank.
    #[error("{key} is required but missing or blank; set it to a text")]
    Missing {
        /// Dotted key.
        key: &'static str,
    },
    /// A required environment variable is missing or blank.
    #[error("the environment variable {name} is required but missing or blank; set it to a text")]
    Variable {
        /// Name of the variable.
        name: &'static str,
    },
    /// A value is no quantity.
    #[error("{key} is {value:?}, which is no Kubernetes quantity: {source}; write for example {example}")]
    Quantity {
        /// Dotted key.
        key: &'static str,
        /// The value as it stands.
        value: String,
        /// A value that would do.
        example: &'static str,
        /// What is wrong with it.
        source: QuantityError,
    },
    /// A size that no claim can have.
    #[error("{key} is {value:?}, but a claim can't be that small; set a size above zero")]
    Size {
        /// Dotted key.
        key: &'static str,
        /// The value as it stands.
        value: String,
    },
    /// Any of the above, with the file it is about.
    #[error("{path}: {source}")]
    InFile {
        /// Path as the caller knows it.
        path: String,
        /// What is wrong in it.
        source: Box<PlatformError>,
    },
}

impl PlatformError {
    /// The same error, naming the file. A variable of the environment is in no file and stays as it is.
    #[must_use]
    pub fn in_file(self, path: &str) -> Self {
        match self {
            Self::Variable { .. } | Self::InFile { .. } => self,
            Self::Yaml { .. }
            | Self::Shape { .. }
            | Self::Missing { .. }
            | Self::Quantity { .. }
            | Self::Size { .. } => Self::InFile { path: path.to_owned(), source: Box::new(self) },
        }
    }
}
