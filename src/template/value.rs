//! The values of templates, with Go's semantics of structs and maps.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::TemplateError;

/// A value of Go.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// A pointer to nothing.
    Nil,
    /// What a map gives for a key that it has not.
    Absent,
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Number(i128),
    /// A string.
    Text(String),
    /// A point in time, as RFC 3339 writes it.
    Time(String),
    /// A slice; one that is nil looks like an empty one.
    List(Vec<Self>),
    /// A map; one that is nil looks like an empty one.
    Map(BTreeMap<String, Self>),
    /// A struct.
    Struct(Struct),
}

/// A struct of Go: no field is there that is not named.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Struct {
    /// The fields, in their order.
    pub(crate) fields: Vec<(&'static str, Value)>,
    /// What `json` makes of it: the names there are others, and some fields are left out.
    pub(crate) json: String,
}

impl Value {
    /// A string.
    pub(crate) fn text(text: &(impl ToString + ?Sized)) -> Self {
        Self::Text(text.to_string())
    }

    /// A point in time, if there is one.
    pub(crate) fn time(time: Option<&String>) -> Self {
        time.cloned().map_or(Self::Nil, Self::Time)
    }

    /// A slice of strings.
    pub(crate) fn texts(texts: impl IntoIterator<Item = impl ToString>) -> Self {
        Self::List(texts.into_iter().map(|text| Self::text(&text)).collect())
    }

    /// A map of strings.
    pub(crate) fn map(pairs: impl IntoIterator<Item = (impl ToString, impl ToString)>) -> Self {
        Self::Map(pairs.into_iter().map(|(key, value)| (key.to_string(), Self::text(&value))).collect())
    }

    /// What lies at a path of names.
    pub(super) fn at(&self, path: &[String]) -> Result<Self, TemplateError> {
        let missing = || TemplateError::Field(format!(".{}", path.join(".")));
        let mut found = self;
        for part in path {
            found = match found {
                Self::Struct(it) => it.fields.iter().find(|(name, _)| name == part).map(|(_, value)| value),
                Self::Map(pairs) => Some(pairs.get(part).unwrap_or(&Self::Absent)),
                Self::Absent => Some(found),
                _ => None,
            }
            .ok_or_else(missing)?;
        }
        Ok(found.clone())
    }

    /// Returns true if `if` takes it for true.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Nil | Self::Absent => false,
            Self::Bool(value) => *value,
            Self::Number(number) => *number != 0,
            Self::Text(text) => !text.is_empty(),
            Self::List(items) => !items.is_empty(),
            Self::Map(pairs) => !pairs.is_empty(),
            Self::Time(_) | Self::Struct(_) => true,
        }
    }

    /// The value as Go's `%v` prints it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Nil => "<nil>".to_owned(),
            Self::Absent => "<no value>".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
            Self::Time(time) => shown_time(time).unwrap_or_else(|| time.clone()),
            Self::List(items) => format!("[{}]", joined(items, " ")),
            Self::Map(pairs) => {
                let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}:{}", value.shown())).collect();
                format!("map[{}]", pairs.join(" "))
            }
            Self::Struct(it) => format!("{{{}}}", joined(it.fields.iter().map(|(_, value)| value), " ")),
        }
    }

    /// The value as JSON, in one line.
    pub(super) fn json(&self) -> String {
        match self {
            Self::Nil | Self::Absent => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) | Self::Time(text) => Json::from(text.as_str()).to_string(),
            Self::List(items) => format!("[{}]", items.iter().map(Self::json).collect::<Vec<_>>().join(",")),
            Self::Map(pairs) => {
                let pair = |(key, value): (&String, &Self)| format!("{}:{}", Json::from(key.as_str()), value.json());
                format!("{{{}}}", pairs.iter().map(pair).collect::<Vec<_>>().join(","))
            }
            Self::Struct(it) => it.json.clone(),
        }
    }
}

/// Values as they are printed, with something between them.
pub(super) fn joined<'a>(values: impl IntoIterator<Item = &'a Value>, between: &str) -> String {
    values.into_iter().map(Value::shown).collect::<Vec<_>>().join(between)
}

/// A time as Go prints it: only in JSON it looks as RFC 3339 has it.
fn shown_time(time: &str) -> Option<String> {
    let (date, time) = time.split_once('T')?;
    if let Some(time) = time.strip_suffix('Z') {
        return Some(format!("{date} {time} +0000 UTC"));
    }
    let (time, offset) = time.split_at_checked(time.rfind(['+', '-'])?)?;
    let offset = offset.replace(':', "");
    Some(format!("{date} {time} {offset} {offset}"))
}
