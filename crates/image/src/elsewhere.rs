//! Reports layers that are not copied, because runtimes fetch them from an address in the image.

use std::collections::BTreeSet;

use url::Url;

use hod_engine::count;
use hod_engine::observe::{Event, Observer};
use hod_oci::Descriptor;

/// Tells the user of the layers of an image that stay where they are, if it has any.
pub fn tell<'a>(observer: &dyn Observer, image: &str, layers: impl IntoIterator<Item = &'a Descriptor>) {
    let layers: Vec<_> = layers.into_iter().collect();
    if !layers.is_empty() {
        observer.on(&Event::Notice(&sentence(image, &layers)));
    }
}

fn sentence(image: &str, layers: &[&Descriptor]) -> String {
    let hosts: BTreeSet<String> = layers.iter().flat_map(|layer| &layer.urls).filter_map(|url| host(url)).collect();
    let verb = if layers.len() == 1 { "is" } else { "are" };
    let layers = format!("{} of {image} {verb} not copied", count(layers.len(), "layer"));
    if hosts.is_empty() {
        return format!("{layers}: such layers are stored elsewhere, and the image does not name the place");
    }
    let hosts = hosts.into_iter().collect::<Vec<_>>().join(" and ");
    format!("{layers}: runtimes fetch such layers from {hosts}")
}

fn host(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hod_oci::MediaType;

    #[test]
    fn hosts_are_named_once() {
        let layer = |urls: &[&str]| {
            let layer = Descriptor::of(MediaType::parse("x"), b"brick");
            Descriptor { urls: urls.iter().map(|url| (*url).into()).collect(), ..layer }
        };
        let (one, two) = (layer(&["https://b.example/x", "https://a.example:8/x"]), layer(&["https://b.example/y"]));
        let here = "2 layers of web:1 are not copied: runtimes fetch such layers from a.example:8 and b.example";
        assert_eq!(sentence("web:1", &[&one, &two]), here);
        assert!(sentence("web:1", &[&layer(&["nonsense", "mailto:x"])]).ends_with("does not name the place"));
    }
}
