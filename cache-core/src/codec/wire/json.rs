//! JSON of unknown meaning, carried as text.

use bincode::de::BorrowDecoder;
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};
use bincode::{BorrowDecode, Encode};
use serde_json::{Map, Value};

use super::Reason;
use crate::codec::buffer::SecretBuffer;
use crate::schema::Foreign;
use crate::secret::SecretJson;

/// A JSON object: the object itself on the way out, its text on the way in.
pub(super) enum WireJson<'a> {
    Object(&'a Map<String, Value>),
    Text(&'a str),
}

impl<'a> From<&'a SecretJson> for WireJson<'a> {
    fn from(json: &'a SecretJson) -> Self {
        Self::Object(json.expose())
    }
}

impl TryFrom<WireJson<'_>> for SecretJson {
    type Error = Reason;

    fn try_from(wire: WireJson<'_>) -> Result<Self, Reason> {
        match wire {
            WireJson::Object(object) => Ok(Self::new(object.clone())),
            WireJson::Text(text) => serde_json::from_str(text)
                .map(Self::new)
                .map_err(|_| "an unknown field or row is not JSON"),
        }
    }
}

impl Encode for WireJson<'_> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        match self {
            Self::Text(text) => text.encode(encoder),
            Self::Object(object) => {
                let mut buffer = SecretBuffer::default();
                serde_json::to_writer(&mut buffer, object)
                    .map_err(|_| EncodeError::Other("a value has no JSON form"))?;
                // The bytes of a text are encoded as the text is.
                buffer.bytes().encode(encoder)
            }
        }
    }
}

impl<'a, 'de: 'a, Context> BorrowDecode<'de, Context> for WireJson<'a> {
    fn borrow_decode<D: BorrowDecoder<'de, Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        <&str>::borrow_decode(decoder).map(Self::Text)
    }
}

/// What another program wrote on a row.
#[derive(Encode, BorrowDecode)]
pub(super) struct WireForeign<'a> {
    item_key: Option<&'a str>,
    fields: WireJson<'a>,
    absent: Vec<&'a str>,
}

impl<'a> WireForeign<'a> {
    pub(super) fn of(foreign: Option<&'a Foreign>) -> Option<Self> {
        foreign.map(|foreign| Self {
            item_key: foreign.item_key.as_deref(),
            fields: (&foreign.fields).into(),
            absent: foreign.absent.iter().map(String::as_str).collect(),
        })
    }

    pub(super) fn into_foreign(wire: Option<Self>) -> Result<Option<Box<Foreign>>, Reason> {
        let Some(wire) = wire else { return Ok(None) };
        Ok(Some(Box::new(Foreign {
            item_key: wire.item_key.map(str::to_owned),
            fields: wire.fields.try_into()?,
            absent: wire.absent.into_iter().map(str::to_owned).collect(),
        })))
    }
}
