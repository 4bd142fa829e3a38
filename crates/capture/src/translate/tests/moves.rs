//! MOVE of sources that forget the deadline of a key that they move.

use super::*;

fn moved(era: Era, lines: &[&str]) -> Vec<String> {
    match last(&mut Translator::new(era, 1, 0, BEAT), lines).unwrap() {
        Translated::Changes(records) => records.iter().map(record_shown).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_deadline_that_the_source_forgets_is_taken_off_before_the_move() {
    assert_eq!(moved(Era::V2_6, &["SELECT 2", "move k 1"]), ["2: PERSIST k", "2: move k 1"]);
    assert_eq!(
        moved(Era::V2_6, &["MULTI", "SET a 1", "MOVE a 1", "EXEC"]),
        ["0: transaction (a) [] {0: SET a 1; 0: PERSIST a; 0: MOVE a 1}"]
    );
    assert_eq!(moved(Era::V2_6, &["RENAME k l"]), ["0: RENAME k l"]);
    for era in [Era::V2_8, Era::V5_0, Era::V7_0] {
        assert_eq!(moved(era, &["MOVE k 1"]), ["0: MOVE k 1"]);
    }
}
