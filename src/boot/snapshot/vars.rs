//! The `vars` of a host, a rule or a profile: few each and of a hundred thousand hosts, so that they stand close together
//! and share their names.

use super::{Secret, Sourced};
use std::{collections::BTreeMap, sync::Arc};

/// A template variable's value: what TOML can say without dates. No text in it has a control
/// character (checked by `config`).
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(untagged)]
pub enum Var {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A fraction.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Var>),
    /// A table.
    Table(BTreeMap<String, Var>),
    /// What nobody may read but the installer of an armed host; a variable by itself, in no list and no table.
    Secret(Secret),
}

/// Template variables by name, sorted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VarTable(Box<[(Arc<str>, Sourced<Var>)]>);

impl VarTable {
    /// The variable of that name.
    pub fn get(&self, name: &str) -> Option<&Sourced<Var>> {
        let place = self.0.binary_search_by(|(key, _)| (**key).cmp(name)).ok()?;
        Some(&self.0[place].1)
    }

    /// In the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Sourced<Var>)> {
        self.into_iter()
    }

    /// The same, to change their values.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut Sourced<Var>)> {
        self.0.iter_mut().map(|(key, var)| (&**key, var))
    }

    /// Without their names.
    pub fn values(&self) -> impl Iterator<Item = &Sourced<Var>> {
        self.0.iter().map(|(_, var)| var)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes in one more, or another value of one.
    pub fn insert(&mut self, key: impl Into<Arc<str>>, var: Sourced<Var>) {
        *self = self.below(&VarTable::from([(key, var)]), Arc::clone);
    }

    /// These with others above them, which win; `share` gives each name as it is kept.
    pub fn below(&self, above: &VarTable, mut share: impl FnMut(&Arc<str>) -> Arc<str>) -> VarTable {
        let mut all = Vec::with_capacity(self.len() + above.len());
        let mut below = self.0.iter().peekable();
        for (key, var) in &above.0 {
            while let Some(own) = below.next_if(|(own, _)| own < key) {
                all.push(own.clone());
            }
            below.next_if(|(own, _)| own == key);
            all.push((share(key), var.clone()));
        }
        all.extend(below.cloned());
        VarTable(all.into())
    }
}

impl<K: Into<Arc<str>>> FromIterator<(K, Sourced<Var>)> for VarTable {
    /// Of two with one name, the last is taken.
    fn from_iter<I: IntoIterator<Item = (K, Sourced<Var>)>>(vars: I) -> VarTable {
        let mut all: Vec<(Arc<str>, Sourced<Var>)> = vars.into_iter().map(|(key, var)| (key.into(), var)).collect();
        all.reverse();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all.dedup_by(|(later, _), (first, _)| later == first);
        VarTable(all.into())
    }
}

impl<K: Into<Arc<str>>, const N: usize> From<[(K, Sourced<Var>); N]> for VarTable {
    fn from(vars: [(K, Sourced<Var>); N]) -> VarTable {
        vars.into_iter().collect()
    }
}

impl<'v> IntoIterator for &'v VarTable {
    type Item = (&'v str, &'v Sourced<Var>);
    type IntoIter = std::iter::Map<
        std::slice::Iter<'v, (Arc<str>, Sourced<Var>)>,
        fn(&'v (Arc<str>, Sourced<Var>)) -> (&'v str, &'v Sourced<Var>),
    >;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(|(key, var)| (&**key, var))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::sourced;

    fn table(vars: &[(&str, i64)]) -> VarTable {
        let vars = vars.iter();
        vars.map(|(key, value)| (*key, sourced(Var::Integer(*value)))).collect()
    }

    #[test]
    fn what_stands_above_wins_and_the_rest_is_kept_in_order() {
        let (below, above) = (
            table(&[("b", 1), ("d", 2), ("a", 3)]),
            table(&[("c", 4), ("b", 5), ("e", 6)]),
        );
        let all = below.below(&above, Arc::clone);
        assert_eq!(all, table(&[("a", 3), ("b", 5), ("c", 4), ("d", 2), ("e", 6)]));
        assert_eq!(below.below(&VarTable::default(), Arc::clone), below);
        assert_eq!(VarTable::default().below(&above, Arc::clone), above);
    }

    #[test]
    fn a_variable_is_found_by_its_name_and_the_last_of_two_is_taken() {
        let all = table(&[("b", 1), ("a", 2), ("b", 3)]);
        assert_eq!(all.get("b").map(|var| &var.value), Some(&Var::Integer(3)));
        assert_eq!((all.get("c"), all.len()), (None, 2));
        assert_eq!(all.iter().map(|(key, _)| key).collect::<String>(), "ab");
    }
}
