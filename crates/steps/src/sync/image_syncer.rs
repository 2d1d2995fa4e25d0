//! The configuration files of image-syncer: rules, and credentials of registries.
//!
//! ```text
//! auth    {"registry" or "registry/namespace": {username, password, insecure}}
//! images  {source: destination or [destination, …]}
//! config  {"auth": {…}, "images": {…}}                  both in one, as before version 1.2
//! ```
//!
//! Each rule stands for itself: the images of its source go to each of its destinations.

pub mod auth;
pub mod expand;
pub mod platforms;
pub mod rules;
pub mod success;

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;

use super::destination::{PlacementError, Plan};
use super::document::{Language, SyntaxError, read};
use super::ordered::OrderedMap;
use super::source::Request;
use super::{ImagePlace, Origin};
use hod_image::open::Places;
use hod_oci::{DOCKER_IO, Reference};
use hod_registry::HostAccess;
use hod_transport::Location;

use auth::{AuthTable, RawAuth};
use expand::{UnsetError, Variables};
use rules::{RawDestinations, Rule, RuleError};

/// What the files ask for.
#[derive(Debug, Default)]
pub struct Configuration {
    /// The credentials of each registry.
    pub auth: AuthTable,
    /// What goes where, in the order of the file.
    pub rules: Vec<Rule>,
    /// Rules that cannot be meant.
    pub problems: Vec<RuleError>,
    /// True if a file is JSON with comments, which image-syncer itself does not read.
    pub relaxed: bool,
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// It is neither JSON nor YAML, or has another shape.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// It needs something of the environment.
    #[error("the credentials for {key} cannot be completed")]
    Auth {
        /// The registry, or the path there.
        key: String,
        /// The missing content.
        #[source]
        source: UnsetError,
    },
}

/// The one file of versions before 1.2.
#[derive(Deserialize)]
struct OneFile {
    #[serde(default)]
    auth: OrderedMap<Option<RawAuth>>,
    #[serde(default)]
    images: OrderedMap<RawDestinations>,
}

impl Configuration {
    /// Reads the file of `--auth`, in which variables stand for secrets.
    pub fn add_auth(
        &mut self,
        language: Language,
        text: &str,
        variables: &Variables<'_>,
    ) -> Result<(), ConfigurationError> {
        let (raw, relaxed) = read::<OrderedMap<Option<RawAuth>>>(language, text)?;
        self.relaxed |= relaxed;
        for (key, entry) in raw.0 {
            let entry = entry.unwrap_or_default().expanded(variables);
            let entry = entry.map_err(|source| ConfigurationError::Auth { key: key.clone(), source })?;
            self.auth.add(&key, entry);
        }
        Ok(())
    }

    /// Reads the file of `--images`.
    pub fn add_images(
        &mut self,
        language: Language,
        text: &str,
        variables: &Variables<'_>,
    ) -> Result<(), ConfigurationError> {
        let (raw, relaxed) = read::<OrderedMap<RawDestinations>>(language, text)?;
        self.relaxed |= relaxed;
        self.add_rules(raw, variables);
        Ok(())
    }

    /// Reads the file of `--config`, in which secrets are written out.
    pub fn add_both(
        &mut self,
        language: Language,
        text: &str,
        variables: &Variables<'_>,
    ) -> Result<(), ConfigurationError> {
        let (raw, relaxed) = read::<OneFile>(language, text)?;
        self.relaxed |= relaxed;
        for (key, entry) in raw.auth.0 {
            self.auth.add(&key, entry.unwrap_or_default());
        }
        self.add_rules(raw.images, variables);
        Ok(())
    }

    fn add_rules(&mut self, raw: OrderedMap<RawDestinations>, variables: &Variables<'_>) {
        for (source, destinations) in raw.0 {
            match Rule::parse(&source, destinations, variables) {
                Ok(rule) => self.rules.push(rule),
                Err(problem) => self.problems.push(RuleError { rule: source, problem }),
            }
        }
    }
}

/// What the files are called in messages.
const FILES: &str = "the files of image-syncer";

/// The registries, each asked as the one whom the table names for it.
#[derive(Debug)]
pub struct RegistryAccess<'a> {
    auth: &'a AuthTable,
    base: &'a Places,
    made: HashMap<Option<usize>, Arc<Places>>,
}

impl<'a> RegistryAccess<'a> {
    /// Registries that the table does not name are dealt with as those of `base`.
    pub fn new(auth: &'a AuthTable, base: &'a Places) -> Self {
        Self { auth, base, made: HashMap::new() }
    }

    /// How to reach a repository.
    pub fn places(&mut self, repository: &Reference) -> Arc<Places> {
        let host = repository.host.as_deref().unwrap_or(DOCKER_IO);
        let found = self.auth.find(host, repository.name.as_str());
        let access = found.map_or_else(HostAccess::default, |(_, access)| access.clone());
        let made = self.made.entry(found.map(|(position, _)| position));
        made.or_insert_with(|| Arc::new(self.base.with_access(&access, FILES))).clone()
    }

    /// What has to be asked to know the images of a rule.
    pub fn request(&mut self, rule: &Rule) -> Request {
        let places = self.places(&rule.repository);
        Request { repository: rule.repository.clone(), choice: rule.choice.clone(), places }
    }

    /// Adds the images of a rule to a plan, once for each of its destinations.
    pub fn plan(&mut self, plan: &mut Plan, rule: &Rule, origin: &Origin) {
        let begin = plan.tasks.len();
        for destination in &rule.destinations {
            let versions = destination.versions.as_deref();
            if let Some(versions) = versions.filter(|versions| versions.len() != origin.images.len()) {
                plan.problems.push(PlacementError::Count {
                    origin: rule.source.clone(),
                    images: origin.images.len(),
                    destination: destination.text.clone(),
                    names: versions.len(),
                });
                continue;
            }
            let places = self.places(&destination.repository);
            for (position, image) in origin.images.iter().enumerate() {
                let Location::Docker(source) = &image.location else { continue };
                let own = versions.and_then(|versions| versions.get(position)).cloned();
                let location = Location::Docker(rules::with_version(
                    &destination.repository,
                    own.unwrap_or_else(|| source.version()),
                ));
                let from = ImagePlace { location: image.location.clone(), places: origin.places.clone() };
                plan.push(from, ImagePlace { location, places: places.clone() });
            }
        }
        plan.number_from(begin);
    }
}

#[cfg(test)]
mod tests {
    use super::super::NamedLocation;
    use super::*;
    use hod_registry::{Credentials, Registries, Settings};

    const AUTH: &str = r#"{
  // the registry as a whole
  "registry.example:5000": { "username": "all", "password": "${SECRET}", "insecure": true },
  "registry.example:5000/team": { "username": "$USER", "password": "plain" }, // the namespace wins
}"#;

    fn variables(name: &str) -> Option<String> {
        matches!(name, "SECRET" | "USER" | "SITE").then(|| format!("{}-value", name.to_lowercase()))
    }

    #[test]
    fn files_with_comments_variables_and_namespaces() {
        let mut configuration = Configuration::default();
        configuration.add_auth(Language::Json, AUTH, &variables).unwrap();
        assert!(configuration.relaxed);
        let credentials = |repository: &str| {
            let found = configuration.auth.find("registry.example:5000", repository);
            found.map(|(_, access)| (access.credentials.clone().unwrap(), access.tls_verify))
        };
        let all = (Credentials::from_flag("all:secret-value"), Some(false));
        assert_eq!(credentials("web"), Some(all.clone()));
        assert_eq!(credentials("teams/web"), Some(all));
        assert_eq!(credentials("team/web"), Some((Credentials::from_flag("user-value:plain"), None)));
        assert_eq!(credentials("team"), credentials("team/web"));
        assert!(configuration.auth.find("registry.example", "team/web").is_none());
        let error = Configuration::default().add_auth(Language::Json, AUTH, &|_: &str| None).unwrap_err();
        assert!(error.to_string().contains("registry.example:5000"), "{error}");
        let mut old = Configuration::default();
        let text = "auth:\n  a.io: {username: me, password: $USER}\nimages:\n  a.io/x: b.io/x\n";
        old.add_both(Language::Yaml, text, &|_: &str| None).unwrap();
        let (_, access) = old.auth.find("a.io", "x").unwrap();
        assert_eq!(access.credentials, Some(Credentials::from_flag("me:$USER")));
        assert_eq!(old.rules.len(), 1);
    }

    fn planned(images: &str, tags: &[&str]) -> (Vec<String>, Vec<String>) {
        let mut configuration = Configuration::default();
        configuration.add_images(Language::Yaml, images, &variables).unwrap();
        assert!(configuration.problems.is_empty(), "{:?}", configuration.problems);
        let base = Places::new(Registries::new(Settings::default()));
        let mut reach = RegistryAccess::new(&configuration.auth, &base);
        let mut plan = Plan::default();
        for rule in &configuration.rules {
            let request = reach.request(rule);
            let images = tags.iter().map(|tag| {
                let name = format!("{}:{tag}", request.repository);
                NamedLocation { location: format!("docker://{name}").parse().unwrap(), name }
            });
            let origin = Origin { name: rule.source.clone(), images: images.collect(), places: request.places.clone() };
            reach.plan(&mut plan, rule, &origin);
        }
        let shown = |end: &ImagePlace| end.location.to_string().trim_start_matches("docker://").to_owned();
        let tasks = plan.tasks.iter().map(|task| format!("{} {}", shown(&task.from), shown(&task.to)));
        (tasks.collect(), plan.problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn destinations_take_the_tags_or_have_their_own() {
        let (tasks, problems) = planned("a.io/x: [b.io/y, c.io/$SITE/x, b.io/y]", &["1", "2"]);
        assert_eq!(
            tasks,
            ["a.io/x:1 b.io/y:1", "a.io/x:2 b.io/y:2", "a.io/x:1 c.io/site-value/x:1", "a.io/x:2 c.io/site-value/x:2"]
        );
        assert!(problems.is_empty());
        let (tasks, problems) = planned("a.io/x:1,2: b.io/y:one,two", &["1", "2"]);
        assert_eq!((tasks.len(), problems.len()), (2, 0));
        assert_eq!(tasks[1], "a.io/x:2 b.io/y:two");
        let (tasks, problems) = planned("a.io/x: b.io/y:one", &["1", "2"]);
        assert!(tasks.is_empty());
        assert_eq!(problems, ["a.io/x has 2 images, but b.io/y:one names 1"]);
        let (_, problems) = planned("a.io/x: b.io/y\nc.io/x: b.io/y\n", &["1"]);
        assert_eq!(problems, ["docker://a.io/x:1 and docker://c.io/x:1 would both become docker://b.io/y:1"]);
    }
}
