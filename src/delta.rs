//! Describes the base of a delta to people: in listings, failures and the texts beside a bundle.

use hod_bundle::{DeltaBase, DeltaBaseKind};

/// The bases of a delta, in words.
pub(super) fn base_text(bases: &[DeltaBase]) -> String {
    match bases {
        [] => "it does not name the bundle that it builds on".to_owned(),
        [base] => format!("it builds on {base}"),
        bases => {
            let names: Vec<_> = bases.iter().map(ToString::to_string).collect();
            format!("it builds on content that each of these has: {}", names.join("; "))
        }
    }
}

/// What an admin can do who has the delta alone.
pub(super) fn base_advice(bases: &[DeltaBase]) -> String {
    let bundles: Vec<&str> =
        bases.iter().filter(|base| base.kind == DeltaBaseKind::Bundle).map(|base| &*base.name).collect();
    let first = match bases.iter().find(|base| base.kind != DeltaBaseKind::Bundle) {
        _ if !bundles.is_empty() => format!("unpack or push {} first, and then this bundle", bundles.join(" or ")),
        Some(base) => format!(
            "check that this is the root or registry that the {} {} describes, and bring the bundles that it had then",
            base.kind, base.name
        ),
        None => "unpack or push the bundle that this one builds on first".to_owned(),
    };
    format!("{first}; or ask the sender for a whole bundle, packed without --have")
}
