//! The errors of templates.

use crate::failure::without_advice;

/// A template that cannot be read, or that asks for what is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error("the template has {{{{ without }}}}")]
    Open,
    #[error("the template has {{{{{0}}}}} where it is not allowed")]
    Unexpected(String),
    #[error("the template has no {{{{end}}}} for {{{{{0}}}}}")]
    NoEnd(&'static str),
    #[error("{0:?} in the template is invalid")]
    Word(String),
    #[error("field {0} does not exist")]
    Field(String),
    #[error("{function} cannot be used on {found}")]
    Argument { function: String, found: String },
}

without_advice! {
    TemplateError { Open, Unexpected, NoEnd, Word, Field, Argument }
}
