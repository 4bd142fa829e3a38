//! The text of `INFO`, as names and values.
//!
//! Guarantees: unknown sections and fields are kept, missing ones are `None`; a field that occurs
//! several times (one per module) keeps all its values, in order.

use std::collections::HashMap;
use std::str::FromStr;

/// A parsed `INFO`.
#[derive(Debug, Clone, Default)]
pub struct Info {
    fields: HashMap<String, Vec<String>>,
}

impl Info {
    /// Reads the text; lines that are no field are skipped.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut fields: HashMap<String, Vec<String>> = HashMap::new();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            fields.entry(name.to_owned()).or_default().push(value.to_owned());
        }
        Self { fields }
    }

    /// The value of a field.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of a field that may occur several times.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.fields.get(name).into_iter().flatten().map(String::as_str)
    }

    /// The value of a field as a number, if it is one.
    #[must_use]
    pub fn number<T: FromStr>(&self, name: &str) -> Option<T> {
        self.get(name)?.parse().ok()
    }

    /// The value of a field that is 0 or 1.
    #[must_use]
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.number::<u8>(name).map(|value| value != 0)
    }

    /// Every field by name, for those that are counted up (`db0`, `slave0`).
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.fields.iter();
        pairs.flat_map(|(name, values)| values.iter().map(|value| (name.as_str(), value.as_str())))
    }
}

/// A part of a value such as `keys=3,expires=1`.
#[must_use]
pub fn part<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    value.split(',').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_fields_of_every_shape() {
        let text = "# Server\r\nredis_version:7.0.15\r\nloading:0\r\n\r\n# Modules\r\n\
                    module:name=a,ver=1\r\nmodule:name=b,ver=2\r\nexecutable:/a:b\r\nnonsense\r\n";
        let info = Info::parse(text);
        assert_eq!(info.get("redis_version"), Some("7.0.15"));
        assert_eq!(info.get("executable"), Some("/a:b"));
        assert_eq!(info.flag("loading"), Some(false));
        assert_eq!(info.number::<u64>("redis_version"), None);
        assert_eq!(info.get("nonsense"), None);
        let modules: Vec<_> = info.all("module").filter_map(|value| part(value, "name")).collect();
        assert_eq!(modules, ["a", "b"]);
        assert_eq!(part("keys=3,expires=1", "expire"), None);
    }
}
