//! Maps of configuration files, with their entries in the order of the file.

use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

/// The entries of a map. A key that is there twice is an error; no map at all is an empty one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OrderedMap<V>(pub(super) Vec<(String, V)>);

impl<V> Default for OrderedMap<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

struct Entries<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for Entries<V> {
    type Value = OrderedMap<V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<OrderedMap<V>, A::Error> {
        let mut entries = Vec::new();
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if !seen.insert(key.clone()) {
                return Err(A::Error::custom(format_args!("the key {key:?} is given twice")));
            }
            entries.push((key, map.next_value()?));
        }
        Ok(OrderedMap(entries))
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for OrderedMap<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Perhaps<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Perhaps<V> {
            type Value = OrderedMap<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_none<E>(self) -> Result<OrderedMap<V>, E> {
                Ok(OrderedMap::default())
            }

            fn visit_unit<E>(self) -> Result<OrderedMap<V>, E> {
                Ok(OrderedMap::default())
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<OrderedMap<V>, D::Error> {
                deserializer.deserialize_map(Entries(PhantomData))
            }
        }
        deserializer.deserialize_option(Perhaps(PhantomData))
    }
}
