//! Errors of unpacking images to files.

use super::advice::without_advice;
use super::{Advice, Advise, endpoint};
use hod_rootfs::{LayerError, UnknownUser, UnpackImageError};

impl Advise for UnpackImageError {
    fn advice(&self) -> Advice {
        match self {
            Self::Inspect(error) => error.advice(),
            Self::Layer { source, .. } => source.advice(),
            // What is missing for the configuration says nothing about the bytes of the layers.
            Self::Complete(source) => Advice::general(source.advice().into_hint()),
            Self::Copy(error) => endpoint::of_place(error),
            Self::User(error) => error.advice(),
            Self::Io(error) => error.advice(),
            Self::Config(_)
            | Self::Layers { .. }
            | Self::NoLayer { .. }
            | Self::NamedUser(_)
            | Self::Exists(_)
            | Self::Busy(_)
            | Self::Thread(_) => Advice::NONE,
        }
    }
}

impl Advise for LayerError {
    fn advice(&self) -> Advice {
        match self {
            Self::DiffId { .. } | Self::Tar(_) | Self::Truncated(_) | Self::Entry { .. } => {
                Advice::NONE.corrupt_if(true)
            }
            Self::Read(source) | Self::Output(source) | Self::Write { source, .. } => source.advice(),
            Self::MediaType(_) | Self::Unmapped { .. } | Self::Many { .. } => Advice::NONE,
        }
    }
}

without_advice! { UnknownUser }
