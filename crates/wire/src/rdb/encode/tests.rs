//! What is encoded decodes to the same value.

use bytes::Bytes;
use proptest::prelude::{any, prop, proptest};

use super::{NoGenericForm, generic};
use crate::rdb::{HashField, ModuleId, StreamValue, Value, value};

fn same(value: &Value) {
    let (kind, raw) = generic(value).unwrap();
    assert_eq!(kind.class(), value.class());
    assert_eq!(&value::decode(kind, &raw).unwrap(), value);
}

fn blobs(texts: Vec<Vec<u8>>) -> Vec<Bytes> {
    texts.into_iter().map(Bytes::from).collect()
}

proptest! {
    #[test]
    fn values_come_back(
        texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 0..20),
        score in -1e9_f64..1e9,
    ) {
        let texts = blobs(texts);
        same(&Value::Zset(texts.iter().map(|text| (text.clone(), score)).collect()));
        let field = |text: &Bytes| HashField {
            field: text.clone(),
            value: text.slice(text.len() / 2..),
            expire_at_ms: None,
        };
        same(&Value::Hash(texts.iter().map(field).collect()));
        same(&Value::Str(texts.concat().into()));
        same(&Value::List(texts.clone()));
        same(&Value::Set(texts));
    }
}

#[test]
fn lengths_of_every_size_come_back() {
    for len in [0, 63, 64, 16_383, 16_384, 100_000] {
        same(&Value::Str(vec![b'x'; len].into()));
    }
}

#[test]
fn says_what_has_no_generic_form() {
    assert_eq!(generic(&Value::Stream(StreamValue::default())), Err(NoGenericForm::Stream));
    let module = Value::Module { module: ModuleId(1), raw: Bytes::new() };
    assert_eq!(generic(&module), Err(NoGenericForm::Module));
    let field = HashField { field: "f".into(), value: "v".into(), expire_at_ms: Some(1) };
    assert_eq!(generic(&Value::Hash(vec![field])), Err(NoGenericForm::ExpiringFields));
}
