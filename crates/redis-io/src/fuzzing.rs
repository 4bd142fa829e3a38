//! What a fuzz target runs, and what must hold whatever the bytes are.
//!
//! The target under `tests/fuzz` is one line over the function here, which also runs over the target's
//! seeds as an ordinary test.

use crate::endpoint::{Address, Endpoint};

/// What no message may show.
const SECRET: &str = "sEcReT";

/// A text as the URI of an endpoint: one that is taken is written in a form that is taken again and means
/// the same; and no message shows what stands in the place of a password.
///
/// # Panics
/// When that does not hold.
pub fn endpoint(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(endpoint) = Endpoint::parse(text) {
        let user = endpoint.credentials().and_then(|who| who.user.as_deref()).unwrap_or_default();
        let path = match endpoint.address() {
            Address::Unix(path) => path.to_string_lossy().into_owned(),
            Address::Tcp { .. } => String::new(),
        };
        let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | '_' | '/');
        // What is written is for people: nothing in it is encoded.
        if user.chars().chain(path.chars()).all(|c| is_plain(c) && c != '%') && !user.contains('/')
        {
            let again = Endpoint::parse(&endpoint.to_string()).expect("what was taken");
            assert_eq!((again.address(), again.db()), (endpoint.address(), endpoint.db()));
        }
    }
    let Some((scheme, rest)) = text.split_once("://") else { return };
    let (user, rest) = rest.split_once(':').unwrap_or(("", rest));
    let (password, rest) = rest.rsplit_once('@').unwrap_or(("", rest));
    let with_secret = format!("{scheme}://{user}:{password}{SECRET}{password}@{rest}");
    if text.contains(SECRET) {
        return;
    }
    let shown = match Endpoint::parse(&with_secret) {
        Ok(endpoint) => format!("{endpoint} {endpoint:?}"),
        Err(error) => format!("{error} {error:?}"),
    };
    assert!(!shown.contains(SECRET), "{with_secret}: {shown}");
}

#[cfg(test)]
#[path = "../../../tests/fuzz/seeds.rs"]
mod seeds;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_survive_their_seeds() {
        seeds::run("endpoint", endpoint);
    }
}
