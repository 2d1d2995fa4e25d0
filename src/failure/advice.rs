//! What an error means for the user: whether something is damaged, and what to do.

use std::borrow::Cow;
use std::error::Error;

/// An error that can end a command, or the work on one image.
///
/// `Failure` takes no other error. The matches below `src/failure` have no `_` arm, so a new error or variant does not
/// compile until somebody has decided what the user can do about it.
pub(crate) trait Advise: Error {
    /// What this error means for the user. An error that passes on another one asks that one.
    fn advice(&self) -> Advice;
}

impl<E: Advise> Advise for Box<E> {
    fn advice(&self) -> Advice {
        (**self).advice()
    }
}

impl<E: Advise> Advise for std::sync::Arc<E> {
    fn advice(&self) -> Advice {
        (**self).advice()
    }
}

/// What an error means for the user.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Advice {
    is_corrupt: bool,
    hint: Option<Cow<'static, str>>,
    /// Whether the hint holds whatever the command was doing.
    is_certain: bool,
}

impl Advice {
    /// There is nothing to say that the message does not say.
    pub(crate) const NONE: Self = Self { is_corrupt: false, hint: None, is_certain: false };

    /// What to do, which holds whatever the command was doing.
    pub(crate) fn hint(text: impl Into<Cow<'static, str>>) -> Self {
        Self { hint: Some(text.into()), is_certain: true, ..Self::NONE }
    }

    /// What to do, unless an error around this one knows better.
    pub(crate) fn general(hint: Option<impl Into<Cow<'static, str>>>) -> Self {
        Self { hint: hint.map(Into::into), ..Self::NONE }
    }

    /// Replaces a hint that is not certain by one that knows what the command was doing.
    pub(crate) fn or_better(mut self, hint: Option<impl Into<Cow<'static, str>>>) -> Self {
        if let Some(hint) = hint.filter(|_| !self.is_certain) {
            self.hint = Some(hint.into());
        }
        self
    }

    /// Adds that bytes are not what they should be.
    pub(crate) fn corrupt_if(mut self, is_corrupt: bool) -> Self {
        self.is_corrupt |= is_corrupt;
        self
    }

    /// Whether bytes are not what they should be.
    pub(super) const fn is_corrupt(&self) -> bool {
        self.is_corrupt
    }

    /// What to do about it, where that is known.
    pub(crate) fn into_hint(self) -> Option<String> {
        self.hint.map(Cow::into_owned)
    }
}

/// Errors whose message says everything. All variants are named, so that a new one is looked at.
macro_rules! without_advice {
    ($($error:ty { $($variant:ident),+ $(,)? })+) => {$(
        impl $crate::failure::Advise for $error {
            fn advice(&self) -> $crate::failure::Advice {
                match self {
                    $(Self::$variant { .. })|+ => $crate::failure::Advice::NONE,
                }
            }
        }
    )+};
    ($($error:ty),+ $(,)?) => {$(
        impl $crate::failure::Advise for $error {
            fn advice(&self) -> $crate::failure::Advice {
                $crate::failure::Advice::NONE
            }
        }
    )+};
}
pub(crate) use without_advice;
