//! Scripts of sources that replicate them as such.

use super::*;

#[test]
fn a_script_of_an_old_source_is_a_group_over_all_partitions() {
    let mut translator = Translator::new(Era::V2_8, 4, 0, BEAT);
    let mut take = |lines: &[&str]| last(&mut translator, lines);
    let group = |lines: Result<Translated, TranslateError>| match lines.unwrap() {
        Translated::Changes(records) => match records.as_slice() {
            [Record::Group { db, slot, key, group, .. }] => {
                let partitions: std::collections::BTreeSet<u16> =
                    group.partitions.iter().copied().collect();
                assert_eq!(partitions, (0..4).collect());
                assert_eq!(group.partitions.first(), Some(&Partitions(4).of(*slot)));
                let scripts: Vec<(String, Vec<Bytes>)> = group
                    .changes
                    .iter()
                    .map(|change| match &change.change {
                        Change::Command(command) => {
                            (shown(command), command.written_keys().cloned().collect())
                        }
                        other => panic!("{other:?}"),
                    })
                    .collect();
                (*db, key.clone(), scripts)
            }
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    let sha = "d94397867b3afc1e2e4b1b6a4fbbf10c8fa7a0a4";
    let unknown = take(&[&format!("EVALSHA {sha} 0")]).unwrap_err();
    assert!(matches!(unknown, TranslateError::UnknownScript { digest } if digest == sha));
    let eval = group(take(&["SELECT 3", "eval code 2 foo bar arg"]));
    let keys: Vec<Bytes> = vec!["foo".into(), "bar".into()];
    assert_eq!(eval, (3, "foo".into(), vec![("EVAL code 2 foo bar arg".into(), keys)]));
    // sha1 of "code"
    let sha = "e6fb06210fafc02fd7479ddbed2d042cc3a5155e";
    let again = group(take(&[&format!("EVALSHA {sha} 0 arg")]));
    assert_eq!(again, (3, "".into(), vec![("EVAL code 0 arg".into(), vec![])]));
    let transaction =
        group(take(&["MULTI", "SET a 1", &format!("EVALSHA {sha} 1 foo"), "SET b 1", "EXEC"]));
    assert_eq!((transaction.0, transaction.1, transaction.2.len()), (3, "a".into(), 3));
    assert_eq!(take(&["SCRIPT LOAD other"]).unwrap(), Translated::Nothing);
    assert_eq!(take(&["SCRIPT FLUSH"]).unwrap(), Translated::Nothing);
    let unknown = take(&[&format!("EVALSHA {sha} 0")]).unwrap_err();
    assert!(matches!(unknown, TranslateError::UnknownScript { .. }));
}
