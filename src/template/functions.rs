//! The functions of templates.

use super::value::joined;
use super::{TemplateError, Value};

/// The names of all functions.
pub(super) const NAMES: [&str; 12] =
    ["json", "join", "index", "len", "upper", "lower", "println", "print", "printf", "eq", "ne", "not"];

/// Calls a function.
pub(super) fn call(name: &str, arguments: &[Value]) -> Result<Value, TemplateError> {
    let bad = || TemplateError::Argument { function: name.to_owned(), found: joined(arguments, " ") };
    let text = || if let Some(Value::Text(text)) = arguments.last() { Ok(text) } else { Err(bad()) };
    Ok(match (name, arguments) {
        ("json", [value]) => Value::Text(value.json()),
        ("upper", [_]) => Value::Text(text()?.to_uppercase()),
        ("lower", [_]) => Value::Text(text()?.to_lowercase()),
        ("println", _) => Value::Text(joined(arguments, " ") + "\n"),
        ("print", _) => Value::Text(joined(arguments, "")),
        ("printf", _) => Value::Text(formatted(arguments).ok_or_else(bad)?),
        ("not", [value]) => Value::Bool(!value.is_true()),
        ("eq", [first, rest @ ..]) => Value::Bool(rest.contains(first)),
        ("ne", [first, second]) => Value::Bool(first != second),
        ("len", [value]) => Value::Number(length(value).ok_or_else(bad)? as i128),
        ("join", [Value::List(items), Value::Text(between)]) => Value::Text(joined(items, between)),
        ("index", [value, keys @ ..]) => {
            keys.iter().try_fold(value.clone(), |found, key| element(&found, key).ok_or_else(bad))?
        }
        _ => return Err(bad()),
    })
}

fn length(value: &Value) -> Option<usize> {
    match value {
        Value::Text(text) => Some(text.len()),
        Value::List(items) => Some(items.len()),
        Value::Map(pairs) => Some(pairs.len()),
        _ => None,
    }
}

/// An element of a list or map. For a key that is not there Go gives a map's empty value.
fn element(value: &Value, key: &Value) -> Option<Value> {
    match (value, key) {
        (Value::List(items), Value::Number(number)) => items.get(usize::try_from(*number).ok()?).cloned(),
        (Value::Map(pairs), Value::Text(key)) => Some(pairs.get(key).cloned().unwrap_or_else(|| Value::text(""))),
        _ => None,
    }
}

/// What `printf` makes of its arguments: `%s`, `%v`, `%d`, `%q` and `%%`.
fn formatted(arguments: &[Value]) -> Option<String> {
    let Some((Value::Text(format), arguments)) = arguments.split_first() else { return None };
    let (mut arguments, mut format, mut out) = (arguments.iter(), format.chars(), String::new());
    while let Some(character) = format.next() {
        if character != '%' {
            out.push(character);
            continue;
        }
        match format.next()? {
            '%' => out.push('%'),
            's' | 'v' | 'd' => out.push_str(&arguments.next()?.shown()),
            'q' => out.push_str(&Value::Text(arguments.next()?.shown()).json()),
            _ => return None,
        }
    }
    arguments.next().is_none().then_some(out)
}
