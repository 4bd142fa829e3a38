//! Cities as hashes, GEO sets, sorted sets and sets; countries and languages as JSON strings.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::json;

use super::{Loader, add_all};
use crate::data::{City, Data};
use crate::keys;
use crate::words::{Word, words};

/// Every third city has a deadline.
const CITY_DEADLINE_ONE_IN: u32 = 3;
/// Every fourth language and subdivision has one.
const CODE_DEADLINE_ONE_IN: u32 = 4;
/// Cities of this size and more are in the one large GEO set of the world.
const LARGE_CITY_PEOPLE: u64 = 15_000;

pub(super) fn cities(loader: &mut Loader, data: &Data) -> Result<()> {
    for city in &data.cities {
        let key = keys::city(city.id);
        loader.put(words![
            "HSET",
            key,
            "name",
            city.name,
            "country",
            city.country,
            "latitude",
            city.latitude,
            "longitude",
            city.longitude,
            "population",
            city.population,
            "timezone",
            city.timezone
        ])?;
        loader.expire_some(&key, CITY_DEADLINE_ONE_IN)?;
    }
    let mut large = Vec::new();
    for city in data.cities.iter().filter(|city| city.population >= LARGE_CITY_PEOPLE) {
        large.push(place(city));
    }
    add_all(loader, "GEOADD", &keys::geo("world"), &large)?;
    for (country, cities) in grouped(data, |city| &city.country) {
        let places: Vec<_> = cities.iter().map(|city| place(city)).collect();
        add_all(loader, "GEOADD", &keys::geo(country), &places)?;
        let people: Vec<_> =
            cities.iter().map(|city| vec![city.population.word(), city.id.word()]).collect();
        add_all(loader, "ZADD", &keys::population(country), &people)?;
    }
    for (zone, cities) in grouped(data, |city| &city.timezone) {
        let members: Vec<_> = cities.iter().map(|city| vec![city.id.word()]).collect();
        add_all(loader, "SADD", &keys::timezone(zone), &members)?;
    }
    Ok(())
}

pub(super) fn countries(loader: &mut Loader, data: &Data) -> Result<()> {
    for country in &data.countries {
        let json = json!({ "name": country.name, "flag": country.flag });
        loader.put(words!["SET", keys::country(&country.code), json.to_string()])?;
    }
    for part in &data.subdivisions {
        let key = keys::subdivision(&part.code);
        let json = json!({ "name": part.name, "type": part.kind });
        loader.put(words!["SET", key, json.to_string()])?;
        loader.expire_some(&key, CODE_DEADLINE_ONE_IN)?;
    }
    Ok(())
}

pub(super) fn languages(loader: &mut Loader, data: &Data) -> Result<()> {
    for language in &data.languages {
        let key = keys::language(&language.code);
        let json = json!({ "name": language.name, "type": language.kind });
        loader.put(words!["SET", key, json.to_string()])?;
        loader.expire_some(&key, CODE_DEADLINE_ONE_IN)?;
    }
    Ok(())
}

fn place(city: &City) -> Vec<Vec<u8>> {
    vec![city.longitude.word(), city.latitude.word(), city.id.word()]
}

fn grouped<'a>(
    data: &'a Data,
    by: impl Fn(&'a City) -> &'a String,
) -> BTreeMap<&'a str, Vec<&'a City>> {
    let mut groups: BTreeMap<&str, Vec<&City>> = BTreeMap::new();
    for city in &data.cities {
        groups.entry(by(city)).or_default().push(city);
    }
    groups
}
