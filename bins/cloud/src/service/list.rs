//! Lists: which entries, in which order, which page (cloud.md 3.1). Pure.

use std::collections::BTreeMap;

use baetyl_core_lib::spec::Timestamp;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::matching::Selector;

/// The query of a list.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ListOptions {
    /// Labels that entries must have.
    pub selector: String,
    /// Labels that members of a node must have.
    pub node_selector: String,
    /// Carried through.
    pub field_selector: String,
    /// Carried through.
    pub keyword_type: String,
    /// Carried through.
    pub keyword: String,
    /// Carried through.
    pub alias: String,
    /// Carried through.
    #[serde(deserialize_with = "number")]
    pub limit: i64,
    /// Carried through.
    #[serde(rename = "continue")]
    pub continue_at: String,
    /// Part of the name.
    pub name: String,
    /// From 1.
    #[serde(deserialize_with = "number")]
    pub page_no: i64,
    /// Entries on a page; 0 for all on one.
    #[serde(deserialize_with = "number")]
    pub page_size: i64,
    /// Nodes: `online`, `offline` or `uninstall`.
    pub ready: String,
    /// Nodes: `single` or `cluster`.
    pub cluster: String,
    /// Nodes: `asc` or `desc`.
    pub create_sort: String,
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    Ok(String::deserialize(deserializer)?.parse().unwrap_or(0))
}

impl ListOptions {
    /// Adds requirements unless the selector speaks of that label already.
    pub(crate) fn require(mut self, label: &str, requirement: &str) -> Self {
        if !self.selector.contains(label) {
            if !self.selector.is_empty() {
                self.selector.push(',');
            }
            self.selector.push_str(requirement);
        }
        self
    }

    /// Chooses, sorts and cuts `entries`, and wraps their views as the original does.
    pub(crate) fn answer<T: Listed>(&self, mut entries: Vec<T>, view: impl Fn(T) -> Value) -> Value {
        let selector = Selector::parse(&self.selector).ok();
        let name = self.name.replace('%', "");
        entries.retain(|entry| {
            selector.as_ref().is_some_and(|selector| selector.matches(entry.labels()))
                && entry.name().contains(&name)
        });
        entries.sort_by_key(|entry| (entry.rank(), std::cmp::Reverse(entry.create_time().as_unix())));
        if self.create_sort == "asc" {
            entries.reverse();
        }
        let total = entries.len();
        let items: Vec<Value> =
            if let Some(size) = usize::try_from(self.page_size).ok().filter(|size| *size > 0) {
                let page = usize::try_from(self.page_no.max(1) - 1).unwrap_or(0);
                entries.into_iter().skip(page.saturating_mul(size)).take(size).map(view).collect()
            } else {
                entries.into_iter().map(view).collect()
            };
        let mut answer = Map::new();
        answer.insert("total".to_owned(), Value::from(total));
        for (key, text) in [
            ("selector", &self.selector),
            ("nodeSelector", &self.node_selector),
            ("fieldSelector", &self.field_selector),
            ("keywordType", &self.keyword_type),
            ("keyword", &self.keyword),
            ("alias", &self.alias),
            ("continue", &self.continue_at),
            ("name", &self.name),
            ("ready", &self.ready),
            ("cluster", &self.cluster),
            ("createSort", &self.create_sort),
        ] {
            if !text.is_empty() {
                answer.insert(key.to_owned(), Value::from(text.as_str()));
            }
        }
        for (key, number) in [("limit", self.limit), ("pageNo", self.page_no), ("pageSize", self.page_size)] {
            if number != 0 {
                answer.insert(key.to_owned(), Value::from(number));
            }
        }
        answer.insert("items".to_owned(), Value::Array(items));
        Value::Object(answer)
    }
}

/// What a list chooses and sorts by.
pub(crate) trait Listed {
    fn name(&self) -> &str;
    fn labels(&self) -> &BTreeMap<String, String>;
    fn create_time(&self) -> Timestamp;
    /// What comes first, before age is looked at.
    fn rank(&self) -> u8 {
        0
    }
}

macro_rules! listed {
    ($($type:ty),*) => {$(
        impl Listed for $type {
            fn name(&self) -> &str {
                &self.name
            }
            fn labels(&self) -> &BTreeMap<String, String> {
                &self.labels
            }
            fn create_time(&self) -> Timestamp {
                self.create_time
            }
        }
    )*};
}

listed!(baetyl_core_lib::spec::AppSpec, baetyl_core_lib::spec::Configuration, baetyl_core_lib::spec::Secret);
