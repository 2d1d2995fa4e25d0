//! Checks a bundle: every byte against the header, every blob against its digest.
//!
//! A wrong blob does not hide the ones after it; a broken structure ends the check, since nothing
//! after it can be trusted to be what it seems.

use std::collections::HashMap;
use std::io::Read;

use super::finding::{Code, Finding, Findings};
use hod_bundle::{BegunBundle, BundleError, BundleReader, Header, SIGNATURE_NAME, Trust};
use hod_engine::observe::{Event, Observer, Stop};
use hod_oci::Digest;
use hod_store::layout::Entry;

/// Bytes read at a time.
const CHUNK: usize = 1024 * 1024;

/// Checks a bundle from its first byte to its last, and whether somebody who is trusted has signed it.
///
/// # Errors
/// Only where it cannot be read; damage is a finding.
pub fn verify_bundle(
    input: impl Read,
    trust: &Trust,
    observer: &dyn Observer,
    stop: &Stop,
) -> Result<Findings, BundleError> {
    let mut findings = Findings::default();
    // What a stranger has made is looked into all the same: that is what this is for.
    let opened = BegunBundle::read(input).and_then(|begun| {
        match begun.check(trust) {
            Ok(signed) => findings.signed = signed,
            Err(error) => {
                findings.findings.push(Finding::new(Code::SignatureInvalid, SIGNATURE_NAME, error.to_string()));
            }
        }
        begun.open()
    });
    let mut reader = match opened {
        Ok(reader) => reader,
        Err(error) => {
            findings.findings.push(broken(error)?);
            return Ok(findings);
        }
    };
    let header = reader.header().clone();
    findings.images = header.images().len();
    let bytes = header.blobs().iter().map(|blob| blob.size).sum();
    observer.on(&Event::Step { name: "verify", images: 0, bytes });
    let mut wrong = Vec::new();
    let ended = check(&mut reader, &mut findings, &mut wrong, observer, stop);
    let ended = match ended {
        Ok(()) if stop.is_requested() => return Ok(findings),
        Ok(()) => reader.finish().map(|header| {
            findings.links = header.repositories().iter().map(|links| links.files().count()).sum();
        }),
        Err(error) => Err(error),
    };
    let images = users(&header);
    for (digest, detail) in wrong {
        let mut finding = Finding::new(Code::BlobDigestMismatch, Entry::Data(digest).to_string(), detail);
        finding.images = images.get(&digest).cloned().unwrap_or_default();
        findings.findings.push(finding);
    }
    if let Err(error) = ended {
        findings.findings.push(broken(error)?);
    }
    findings.findings.sort();
    Ok(findings)
}

/// Reads every blob; wrong ones are noted, and the next is read.
fn check<R: Read>(
    reader: &mut BundleReader<R>,
    findings: &mut Findings,
    wrong: &mut Vec<(Digest, String)>,
    observer: &dyn Observer,
    stop: &Stop,
) -> Result<(), BundleError> {
    let mut buffer = vec![0; CHUNK];
    while let Some(mut body) = reader.next_blob()? {
        let digest = *body.digest();
        findings.blobs += 1;
        loop {
            match body.read_checked(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    findings.bytes += count as u64;
                    observer.on(&Event::Moved { digest: &digest, bytes: count as u64 });
                }
                Err(BundleError::Content(mismatch)) => {
                    wrong.push((digest, mismatch.to_string()));
                    break;
                }
                Err(error) => return Err(error),
            }
            if stop.is_requested() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The finding that an error of the reader amounts to; what is no damage stays an error.
fn broken(error: BundleError) -> Result<Finding, BundleError> {
    let code = match &error {
        BundleError::Read(_) | BundleError::NotABundle(_) | BundleError::ForeignCompression => return Err(error),
        BundleError::Truncated { .. } => Code::BundleTruncated,
        _ => Code::BundleInvalid,
    };
    let causes = std::iter::successors(std::error::Error::source(&error), |error| error.source());
    let detail = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
    let path = match &error {
        BundleError::Truncated { member, .. } | BundleError::Bytes { member, .. } => member.clone(),
        BundleError::Member { expected, .. } => expected.clone(),
        _ => hod_bundle::HEADER_NAME.to_owned(),
    };
    Ok(Finding::new(code, path, detail))
}

/// For each content the images that consist of it.
pub(super) fn users(header: &Header) -> HashMap<Digest, Vec<String>> {
    let mut users: HashMap<Digest, Vec<String>> = HashMap::new();
    for image in header.images() {
        for content in header.contents_of(image) {
            users.entry(content.digest).or_default().push(image.label());
        }
    }
    users
}
