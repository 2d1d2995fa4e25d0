//! Why a template cannot be used.

/// A template that cannot be read, or that asks for what is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error("the template has {{{{ without }}}}")]
    Open,
    #[error("the template has {{{{{0}}}}} where it cannot be")]
    Unexpected(String),
    #[error("the template has no {{{{end}}}} for {{{{{0}}}}}")]
    NoEnd(&'static str),
    #[error("{0:?} in the template is not understood")]
    Word(String),
    #[error("there is no field {0}")]
    Field(String),
    #[error("{function} cannot be used on {found}")]
    Argument { function: String, found: String },
}
