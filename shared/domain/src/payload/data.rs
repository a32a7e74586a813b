//! The object of an event, in the one pass in which the event is read.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::Loose;

/// What an event is about.
#[derive(Debug, Default, PartialEq)]
pub(super) enum Data<'a> {
    #[default]
    Missing,
    Object(Object<'a>),
    /// Something that is not an object.
    Other,
}

/// The fields that a mail needs, of any kind of object. Of a name that comes twice, the last counts.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Object<'a> {
    pub(super) id: Loose<'a>,
    pub(super) user_id: Loose<'a>,
    pub(super) expires_at: Loose<'a>,
    pub(super) created_at: Loose<'a>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Data<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Data<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Data<'de>, A::Error> {
        let mut object = Object::default();
        while let Some(Name(name)) = map.next_key()? {
            match &*name {
                "id" => object.id = map.next_value()?,
                "user_id" => object.user_id = map.next_value()?,
                "expires_at" => object.expires_at = map.next_value()?,
                "created_at" => object.created_at = map.next_value()?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Data::Object(object))
    }

    fn visit_unit<E>(self) -> Result<Data<'de>, E> {
        Ok(Data::Missing)
    }

    fn visit_str<E>(self, _: &str) -> Result<Data<'de>, E> {
        Ok(Data::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Data<'de>, E> {
        Ok(Data::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Data<'de>, E> {
        Ok(Data::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Data<'de>, E> {
        Ok(Data::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Data<'de>, E> {
        Ok(Data::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Data<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Data::Other)
    }
}

/// The name of a field, not copied unless it has escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_taken() {
        let object = |id| Data::Object(Object { id, ..Object::default() });
        for (json, data) in [
            ("null", Data::Missing),
            ("1", Data::Other),
            ("-1", Data::Other),
            ("1.5", Data::Other),
            ("true", Data::Other),
            ("\"a\"", Data::Other),
            ("[{\"id\":1}]", Data::Other),
            ("{}", object(Loose::Other)),
            ("{\"more\":[{}],\"id\":\"a\"}", object(Loose::Text("a".into()))),
            ("{\"id\":\"a\",\"id\":\"b\"}", object(Loose::Text("b".into()))),
            ("{\"\\u0069d\":\"a\"}", object(Loose::Text("a".into()))),
        ] {
            assert_eq!(serde_json::from_str::<Data<'_>>(json).expect(json), data, "{json}");
        }
    }
}
