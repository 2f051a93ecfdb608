//! A `--store` in an item of the Secret Service that MSAL programs keep their tokens in.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::path_text;

const EXAMPLE: &str = "msal-secret-service:service=NAME,account=NAME for MSAL Node, or \
                       msal-secret-service:schema=NAME,ATTRIBUTE=VALUE,… for MSAL Python, each with path=PATH where its programs name one; write a \
                       comma in a value as %2C and a percent sign as %25";

/// The attribute in which the Secret Service keeps the schema. One of the address would be put aside without a word.
const SCHEMA: &str = "xdg:schema";

/// An item, and the path that its programs name with it: they take their lock beside that, and look there for changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ItemAddress {
    pub(crate) item: Item,
    pub(crate) path: Option<PathBuf>,
}

/// What identifies an item. None of it is a secret: the keychain shows it to whoever asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// As the extensions of MSAL Node name it.
    Node { service: String, account: String },
    /// As the extensions of MSAL Python name it.
    Python {
        schema: String,
        attributes: Vec<(String, String)>,
    },
    /// As MSAL Python names it for a program that gives the path alone.
    OfPath,
}

impl FromStr for ItemAddress {
    type Err = String;

    /// Parses what stands behind `msal-secret-service:`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        let mut path = None;
        for part in text.split(',') {
            let (name, value) = part
                .split_once('=')
                .filter(|(name, value)| !name.is_empty() && !value.is_empty())
                .ok_or_else(|| format!("an item is named as in {EXAMPLE}"))?;
            let (decoded, value) = (decode(name)?, decode(value)?);
            // As it is written: an attribute of this name is written %70ath.
            if name == "path" {
                if path.replace(path_text::parse(&value)?).is_some() {
                    return Err("path stands there a second time".to_owned());
                }
                continue;
            }
            if decoded == SCHEMA {
                return Err(format!("{SCHEMA} is written schema=NAME"));
            }
            if pairs.iter().any(|(known, _)| *known == decoded) {
                return Err(format!("{name} stands there a second time"));
            }
            pairs.push((decoded, value));
        }
        let item = if let Some(schema) = take(&mut pairs, "schema") {
            Item::Python {
                schema,
                attributes: pairs,
            }
        } else if pairs.is_empty() && path.is_some() {
            Item::OfPath
        } else {
            let (Some(service), Some(account)) = (take(&mut pairs, "service"), take(&mut pairs, "account"))
            else {
                return Err(format!("an item is named as in {EXAMPLE}"));
            };
            if let Some((stray, _)) = pairs.first() {
                return Err(format!(
                    "{stray} stands beside service and account, which name an item alone; MSAL Python's attributes need \
                     their schema=NAME too"
                ));
            }
            Item::Node { service, account }
        };
        Ok(Self { item, path })
    }
}

impl fmt::Display for ItemAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.item {
            Item::Node { service, account } => {
                write!(f, "service={},account={}", encode(service), encode(account))?;
            }
            Item::Python { schema, attributes } => {
                write!(f, "schema={}", encode(schema))?;
                for (name, value) in attributes {
                    let name = if name == "path" {
                        "%70ath".to_owned()
                    } else {
                        encode(name)
                    };
                    write!(f, ",{name}={}", encode(value))?;
                }
            }
            Item::OfPath => {}
        }
        if let Some(path) = &self.path {
            let comma = if self.item == Item::OfPath { "" } else { "," };
            write!(f, "{comma}path={}", encode(&path.display().to_string()))?;
        }
        Ok(())
    }
}

fn take(pairs: &mut Vec<(String, String)>, name: &str) -> Option<String> {
    let index = pairs.iter().position(|(known, _)| known == name)?;
    Some(pairs.remove(index).1)
}

/// Only what separates, and what a terminal would obey.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, ',' | '=' | '%') || character.is_control() {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                encoded.push_str(&format!("%{byte:02X}"));
            }
        } else {
            encoded.push(character);
        }
    }
    encoded
}

fn decode(text: &str) -> Result<String, String> {
    let wrong = || "a % is followed by two hexadecimal digits; a percent sign itself is %25".to_owned();
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|digit| char::from(digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(wrong());
        };
        decoded.push(u8::try_from(high * 16 + low).map_err(|_| wrong())?);
    }
    let decoded = String::from_utf8(decoded).map_err(|_| "what is written with % is not UTF-8".to_owned())?;
    // D-Bus has no text with a NUL in it.
    if decoded.contains('\0') {
        return Err("an attribute cannot hold a NUL".to_owned());
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_parsed_and_shown_alike() {
        for text in [
            "service=my app,account=msal",
            "service=a,account=b,path=/home/me/cache.json",
            "schema=my_schema_name,my_attr1=foo,my_attr2=bar",
            "schema=s",
            "schema=s,service=a,account=b",
            "schema=s,%70ath=x,path=/l",
            "path=/home/me/cache.bin",
            "service=a%2Cb%3Dc%25,account=%0A",
        ] {
            let address: ItemAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            assert_eq!(address.to_string().parse::<ItemAddress>().unwrap(), address);
        }
        let address: ItemAddress = "service=a%2Cb,account=c".parse().unwrap();
        let item = Item::Node {
            service: "a,b".to_owned(),
            account: "c".to_owned(),
        };
        assert_eq!(address, ItemAddress { item, path: None });
    }

    #[test]
    fn what_names_no_item_is_refused() {
        for text in [
            "",
            "service=a",
            "account=a",
            "service=a,account=",
            "service=a,account=b,more=c",
            "service=a,service=b,account=c",
            "service=a,account=b,path=/l,path=/m",
            "my_attr1=foo",
            "service=a,account=%2",
            "service=a,account=%zz",
            "service=a,account=%00",
            "service=a,account=%FF",
            "service=a,account=b,",
            "service=a,account=b,path=~/l",
            "schema=s,xdg:schema=t",
            "schema=s,xdg%3Aschema=t",
            "xdg:schema=s,kind=cache",
        ] {
            assert!(text.parse::<ItemAddress>().is_err(), "{text}");
        }
    }
}
