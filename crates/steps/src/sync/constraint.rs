//! Version constraints in the notation of Masterminds' semver, for skopeo's `images-by-semver`.
//!
//! ```text
//! constraint  = group *( "||" group )            one of the groups
//! group       = range / term *( ("," / blank) term )      all of the terms
//! range       = version " - " version
//! term        = [ "=" "!=" ">" ">=" "=>" "<" "<=" "=<" "~" "~>" "^" ] version
//! version     = ["v"] part [ "." part [ "." part ] ] [ "-" pre-release ] [ "+" build ]
//! part        = number / "x" / "X" / "*"
//! ```
//!
//! Versions with a pre-release are taken only by groups of which a term has one.

use std::cmp::Ordering;
use std::str::FromStr;

use semver::{BuildMetadata, Prerelease, Version};

/// Which versions are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint {
    groups: Vec<Vec<Term>>,
}

/// A text that is no constraint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a version constraint: write, for example, \">= 3.12.0\", \"~1.2\", \"^1\", \"1.2 - 1.4\" or \">1 || 0.9.x\""
)]
pub struct ConstraintError(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    Different,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Tilde,
    Caret,
}

/// The operators as they are written, those that begin like another first.
const OPERATORS: [(&str, Operator); 11] = [
    ("!=", Operator::Different),
    (">=", Operator::GreaterOrEqual),
    ("=>", Operator::GreaterOrEqual),
    ("<=", Operator::LessOrEqual),
    ("=<", Operator::LessOrEqual),
    ("~>", Operator::Tilde),
    ("=", Operator::Equal),
    (">", Operator::Greater),
    ("<", Operator::Less),
    ("~", Operator::Tilde),
    ("^", Operator::Caret),
];

/// How much of a version is written out; what is not counts as 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Precision {
    Nothing,
    Major,
    Minor,
    Patch,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    operator: Operator,
    version: Version,
    precision: Precision,
}

/// Reads a tag as a version, as Masterminds' `NewVersion` does: `v` in front and fewer than three parts are fine.
pub(crate) fn version_of_tag(tag: &str) -> Option<Version> {
    let (version, precision) = parse_version(tag, false)?;
    (precision > Precision::Nothing).then_some(version)
}

impl Constraint {
    /// Returns true if a version is wanted.
    pub fn matches(&self, version: &Version) -> bool {
        self.groups.iter().any(|terms| {
            let early = !version.pre.is_empty() && terms.iter().all(|term| term.version.pre.is_empty());
            !early && terms.iter().all(|term| term.matches(version))
        })
    }
}

impl Term {
    fn matches(&self, version: &Version) -> bool {
        let order = version.cmp_precedence(&self.version);
        let (major, minor) = (version.major.cmp(&self.version.major), version.minor.cmp(&self.version.minor));
        match self.operator {
            Operator::Equal if self.precision == Precision::Patch => order == Ordering::Equal,
            Operator::Equal | Operator::Tilde => self.tilde(version),
            Operator::Different if self.precision == Precision::Patch => order != Ordering::Equal,
            Operator::Different => !self.tilde(version),
            Operator::Less => order == Ordering::Less,
            Operator::GreaterOrEqual => order != Ordering::Less,
            // More than 1 is 2 and up; more than 1.2 is 1.3 and up.
            Operator::Greater => match self.precision {
                Precision::Nothing | Precision::Patch => order == Ordering::Greater,
                Precision::Major => major == Ordering::Greater,
                Precision::Minor => major.then(minor) == Ordering::Greater,
            },
            // Up to 1 is all of 1; up to 1.2 is all of 1.2.
            Operator::LessOrEqual => match self.precision {
                Precision::Nothing => true,
                Precision::Patch => order != Ordering::Greater,
                Precision::Major => major != Ordering::Greater,
                Precision::Minor => major.then(minor) != Ordering::Greater,
            },
            Operator::Caret => order != Ordering::Less && self.caret(version),
        }
    }

    /// From the version up, with the same parts as far as they are written; of three parts the last may grow.
    fn tilde(&self, version: &Version) -> bool {
        version.cmp_precedence(&self.version) != Ordering::Less
            && (self.precision < Precision::Major || version.major == self.version.major)
            && (self.precision < Precision::Minor || version.minor == self.version.minor)
    }

    /// Returns true if the leftmost part that is not 0 is the same.
    fn caret(&self, version: &Version) -> bool {
        let own = &self.version;
        match self.precision {
            Precision::Nothing => true,
            Precision::Major => version.major == own.major,
            _ if own.major > 0 => version.major == own.major,
            Precision::Minor => version.major == 0 && version.minor == own.minor,
            Precision::Patch if own.minor > 0 => version.major == 0 && version.minor == own.minor,
            Precision::Patch => version.major == 0 && version.minor == 0 && version.patch == own.patch,
        }
    }
}

impl FromStr for Constraint {
    type Err = ConstraintError;

    fn from_str(text: &str) -> Result<Self, ConstraintError> {
        let groups: Option<Vec<_>> = text.split("||").map(group).collect();
        groups.map(|groups| Self { groups }).ok_or_else(|| ConstraintError(text.to_owned()))
    }
}

/// The terms of one group.
fn group(text: &str) -> Option<Vec<Term>> {
    let mut terms = Vec::new();
    let mut rest = text.trim();
    loop {
        let (term, after) = term(rest)?;
        let next = after.trim_start();
        // A range is two terms.
        if let (Operator::Equal, Some(end)) = (term.operator, next.strip_prefix("- ")) {
            let (last, after) = self::term(end.trim_start())?;
            if last.operator != Operator::Equal || rest.starts_with('=') || end.trim_start().starts_with('=') {
                return None;
            }
            terms.push(Term { operator: Operator::GreaterOrEqual, ..term });
            terms.push(Term { operator: Operator::LessOrEqual, ..last });
            rest = after;
        } else {
            terms.push(term);
            rest = after;
        }
        let separated = rest.trim_start();
        if separated.is_empty() {
            return Some(terms);
        }
        let blank = separated.len() < rest.len();
        rest = match separated.strip_prefix(',') {
            Some(after) => after.trim_start(),
            None if blank => separated,
            None => return None,
        };
    }
}

/// One term, and what follows it.
fn term(text: &str) -> Option<(Term, &str)> {
    let found = OPERATORS.iter().find_map(|(sign, operator)| Some((*operator, text.strip_prefix(sign)?)));
    let (operator, rest) = found.unwrap_or((Operator::Equal, text));
    let rest = rest.trim_start();
    let end = rest.find(|letter: char| letter.is_whitespace() || letter == ',').unwrap_or(rest.len());
    let (version, after) = rest.split_at(end);
    let (version, precision) = parse_version(version, true)?;
    Some((Term { operator, version, precision }, after))
}

/// A version with as many parts as are written; `wild` allows `x`, `X` and `*` for parts.
fn parse_version(text: &str, wild: bool) -> Option<(Version, Precision)> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
    let (core, pre) = text.split_once('-').map_or((text, None), |(core, pre)| (core, Some(pre)));
    let mut numbers = [0; 3];
    let mut precision = Precision::Nothing;
    let mut open = false;
    let levels = [Precision::Major, Precision::Minor, Precision::Patch];
    let parts: Vec<&str> = core.split('.').collect();
    if parts.len() > levels.len() {
        return None;
    }
    for ((part, number), level) in parts.into_iter().zip(&mut numbers).zip(levels) {
        if wild && matches!(part, "x" | "X" | "*") {
            open = true;
            continue;
        }
        if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let value = part.parse().ok()?;
        // After a wildcard nothing counts.
        if !open {
            (*number, precision) = (value, level);
        }
    }
    let [major, minor, patch] = numbers;
    let pre = pre.map_or(Some(Prerelease::EMPTY), |pre| Prerelease::new(pre).ok().filter(|pre| !pre.is_empty()))?;
    let build =
        build.map_or(Some(BuildMetadata::EMPTY), |build| BuildMetadata::new(build).ok().filter(|it| !it.is_empty()))?;
    Some((Version { major, minor, patch, pre, build }, precision))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is(constraint: &str, tag: &str) -> bool {
        let constraint: Constraint = constraint.parse().unwrap_or_else(|error| panic!("{error}"));
        version_of_tag(tag).is_some_and(|version| constraint.matches(&version))
    }

    #[test]
    fn takes_and_leaves_what_masterminds_does() {
        for (constraint, yes, no) in [
            (">= 3.12.0", "3.12.0 3.12 v3.13.1 4 10.0", "3.11.9 3 v2 3.13.0-rc1 latest 3.12.0.1"),
            ("=>1", "1.0.0 2", "0.9"),
            ("> 1", "2 2.0.1", "1 1.9.9"),
            ("> 1.2", "1.3 2", "1.2.9 1.2 0.9"),
            ("> 1.2.3", "1.2.4 2", "1.2.3 1.2"),
            ("< 1.2", "1.1.9 0", "1.2 1.2.0"),
            ("<= 1.2", "1.2.9 1.2 0.1", "1.3 2"),
            ("=<1", "1.9.9 0", "2"),
            ("<=1.2.3", "1.2.3 1.2.2", "1.2.4"),
            ("1.2.3", "1.2.3 v1.2.3", "1.2.4 1.2"),
            ("=1.2", "1.2 1.2.9", "1.3 1.1.9"),
            ("1", "1 1.9", "2 0.9"),
            ("1.2.x", "1.2 1.2.9", "1.3"),
            ("1.X", "1.0 1.99", "2.0"),
            ("*", "0 1.2.3 99", "1.0.0-rc1 nightly"),
            ("!= 1.2", "1.3 1.1", "1.2 1.2.9"),
            ("!=1.2.3", "1.2.4", "1.2.3"),
            ("~1.2.3", "1.2.3 1.2.9", "1.2.2 1.3"),
            ("~> 1.2", "1.2 1.2.9", "1.3"),
            ("~1", "1 1.9", "2"),
            ("^1.2.3", "1.2.3 1.9", "1.2.2 2"),
            ("^0.2.3", "0.2.3 0.2.9", "0.3 0.2.2 1.2.3"),
            ("^0.2", "0.2.0 0.2.9", "0.3 1.2"),
            ("^0.0.3", "0.0.3", "0.0.4 0.1.3"),
            ("^0.0", "0.0.0 0.0.9", "0.1"),
            ("^0", "0.0 0.9.9", "1"),
            ("1.2 - 1.4", "1.2.0 1.3 1.4.9", "1.1.9 1.5"),
            ("1.2.3 - 1.4.5", "1.2.3 1.4.5", "1.2.2 1.4.6"),
            (">=1.2, <3", "1.2 2.9", "3 1.1"),
            (">=1.2 <3", "1.2 2.9", "3 1.1"),
            (">=1.2, <2 || >= 4.5", "1.2 4.5 9", "2 3 4.4"),
            ("1.0 - 1.1 || ^3, !=3.1.0", "1.1.5 3.0 3.2", "1.2 3.1.0"),
            (">=1.0.0-0", "1.0.0-rc1 1.0.0 2.1.0-alpha.2", "0.9.9-rc1"),
            (">=1.0.0-0, <2", "1.5.0-rc1", "2.0.0"),
            ("1.2.3-beta.2", "1.2.3-beta.2", "1.2.3 1.2.3-beta.3"),
        ] {
            yes.split(' ').for_each(|tag| assert!(is(constraint, tag), "{constraint:?} leaves {tag}"));
            no.split(' ').for_each(|tag| assert!(!is(constraint, tag), "{constraint:?} takes {tag}"));
        }
    }

    #[test]
    fn refuses() {
        for text in [
            "", " ", "||", ">", ">=1 ||", "a", "1.2.3.4", ">=1,", ",>=1", "1 -2", "1 - ", ">=>1", "==1", "1.2-",
            "latest",
        ] {
            assert!(text.parse::<Constraint>().is_err(), "{text:?} was accepted");
        }
    }

    fn numbers() -> impl Strategy<Value = (u64, u64, u64)> {
        (0_u64..4, 0_u64..4, 0_u64..4)
    }

    proptest! {
        #[test]
        fn nothing_makes_the_parser_panic(text in "[ ,|<>=!~^v.x*0-9a-c+-]{0,30}") {
            if let Ok(constraint) = text.parse::<Constraint>() {
                let _ = constraint.matches(&Version::new(1, 2, 3));
            }
        }

        #[test]
        fn comparisons_are_those_of_numbers(a in numbers(), b in numbers()) {
            let (version, tag) = (format!("{}.{}.{}", b.0, b.1, b.2), format!("v{}.{}.{}", a.0, a.1, a.2));
            prop_assert_eq!(is(&format!(">{version}"), &tag), a > b);
            prop_assert_eq!(is(&format!(">= {version}"), &tag), a >= b);
            prop_assert_eq!(is(&format!("<{version}"), &tag), a < b);
            prop_assert_eq!(is(&format!("<= {version}"), &tag), a <= b);
            prop_assert_eq!(is(&version, &tag), a == b);
            prop_assert_eq!(is(&format!("!={version}"), &tag), a != b);
        }

        #[test]
        fn tilde_and_caret_are_ranges(a in numbers(), b in numbers()) {
            let (version, tag) = (format!("{}.{}.{}", b.0, b.1, b.2), format!("{}.{}.{}", a.0, a.1, a.2));
            prop_assert_eq!(is(&format!("~{version}"), &tag), a >= b && a < (b.0, b.1 + 1, 0));
            let end = match b {
                (0, 0, patch) => (0, 0, patch + 1),
                (0, minor, _) => (0, minor + 1, 0),
                (major, ..) => (major + 1, 0, 0),
            };
            prop_assert_eq!(is(&format!("^{version}"), &tag), a >= b && a < end);
            // What is open means the same in each of its ways to be written.
            let open = [format!("{}.{}", b.0, b.1), format!("{}.{}.x", b.0, b.1)];
            for text in &open {
                prop_assert_eq!(is(text, &tag), (a.0, a.1) == (b.0, b.1), "{}", text);
                prop_assert_eq!(is(&format!("!={text}"), &tag), (a.0, a.1) != (b.0, b.1));
            }
        }

        #[test]
        fn groups_are_or_and_terms_are_and(a in numbers(), b in numbers(), c in numbers()) {
            let text = |numbers: (u64, u64, u64)| format!("{}.{}.{}", numbers.0, numbers.1, numbers.2);
            let tag = text(a);
            prop_assert_eq!(is(&format!("<{} || >{}", text(b), text(c)), &tag), a < b || a > c);
            prop_assert_eq!(is(&format!(">={}, <={}", text(b), text(c)), &tag), a >= b && a <= c);
            prop_assert_eq!(is(&format!("{} - {}", text(b), text(c)), &tag), a >= b && a <= c);
        }
    }
}
