//! Cities of GeoNames, and the countries, subdivisions and languages of the ISO lists.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A town.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct City {
    /// Its number at GeoNames.
    #[serde(rename = "geonameid")]
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) latitude: f64,
    pub(crate) longitude: f64,
    /// Two letters of ISO 3166-1.
    #[serde(rename = "countrycode")]
    pub(crate) country: String,
    pub(crate) population: u64,
    /// A zone of the tz database, such as "Europe/Andorra".
    pub(crate) timezone: String,
}

/// A country.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Country {
    #[serde(rename = "alpha_2")]
    pub(crate) code: String,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) flag: String,
}

/// A part of a country.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Subdivision {
    pub(crate) code: String,
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
}

/// A language.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Language {
    #[serde(rename = "alpha_3")]
    pub(crate) code: String,
    pub(crate) name: String,
    /// `L`iving, `E`xtinct, `A`ncient, `H`istorical, `C`onstructed, `S`pecial.
    #[serde(rename = "type")]
    pub(crate) kind: String,
}

/// Cities by id: a JSON object of objects. Those whose place a GEO set cannot hold are left out.
pub(super) fn cities(text: &str) -> Result<Vec<City>> {
    let all: BTreeMap<String, City> = serde_json::from_str(text).context("read the cities")?;
    let mut cities: Vec<City> = all
        .into_values()
        .filter(|city| city.latitude.abs() <= 85.0 && city.longitude.abs() <= 180.0)
        .collect();
    cities.sort_by_key(|city| city.id);
    Ok(cities)
}

/// A list of ISO codes: a JSON object with one array, named after the standard.
pub(super) fn table<T: DeserializeOwned>(text: &str, standard: &str) -> Result<Vec<T>> {
    let what = || format!("read the codes of ISO {standard}");
    let mut all: BTreeMap<String, Vec<T>> = serde_json::from_str(text).with_context(what)?;
    all.remove(standard).with_context(what)
}
