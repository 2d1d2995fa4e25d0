//! Refuses tags that would be one directory of a root.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::sync::PoisonError;

use super::spelling::Spelling;
use super::{Result, Store, StoreError};
use hod_oci::{RepositoryName, Tag};

impl Store {
    /// Returns true if each tag has a place of its own, whatever its letters are.
    pub fn tells_tags_apart(&self) -> Result<bool> {
        Ok(self.spelling()?.tells_all_apart())
    }

    /// Refuses tags that the file system of the root does not tell from each other, or from tags that are there.
    ///
    /// # Errors
    /// [`StoreError::TagsAlike`] names two of them.
    pub fn check_spelling<'a>(&self, tags: impl IntoIterator<Item = (&'a RepositoryName, &'a Tag)>) -> Result<()> {
        let spelling = self.spelling()?;
        if spelling.tells_all_apart() {
            return Ok(());
        }
        let mut by_repository: HashMap<&RepositoryName, Vec<&Tag>> = HashMap::new();
        for (name, tag) in tags {
            by_repository.entry(name).or_default().push(tag);
        }
        for (name, tags) in by_repository {
            let mut known: HashMap<String, Tag> = HashMap::new();
            for tag in self.tags(name)?.iter().chain(tags) {
                match known.entry(spelling.key(tag)) {
                    Place::Vacant(place) => drop(place.insert(tag.clone())),
                    Place::Occupied(first) if first.get() == tag => {}
                    Place::Occupied(first) => return Err(self.alike(name, first.get(), tag)),
                }
            }
        }
        Ok(())
    }

    /// The same for tags that are about to be written, which commits at the same time count as there.
    pub(super) fn claim_spelling<'a>(
        &self,
        name: &RepositoryName,
        tags: impl IntoIterator<Item = &'a Tag> + Clone,
    ) -> Result<()> {
        let spelling = self.spelling()?;
        if spelling.tells_all_apart() {
            return Ok(());
        }
        self.check_spelling(tags.clone().into_iter().map(|tag| (name, tag)))?;
        let mut claimed = self.inner.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        for tag in tags {
            let first = claimed.entry((name.clone(), spelling.key(tag))).or_insert_with(|| tag.clone());
            if first != tag {
                return Err(self.alike(name, first, tag));
            }
        }
        Ok(())
    }

    /// Forgets which tags were written: one of them is removed, and leaves its place to others.
    pub(super) fn release_spelling(&self) {
        self.inner.claimed.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn alike(&self, name: &RepositoryName, first: &Tag, second: &Tag) -> StoreError {
        let tags = Box::new((first.clone(), second.clone()));
        StoreError::TagsAlike { root: self.root().to_owned(), name: name.clone(), tags }
    }

    fn spelling(&self) -> Result<Spelling> {
        if let Some(spelling) = self.inner.spelling.get() {
            return Ok(*spelling);
        }
        let spelling = Spelling::of(&self.inner.root)?;
        Ok(*self.inner.spelling.get_or_init(|| spelling))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_matters_here() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path()).unwrap();
        assert!(store.tells_tags_apart().unwrap());
        let (name, tags): (RepositoryName, [Tag; 2]) =
            ("app".parse().unwrap(), ["V1", "v1"].map(|tag| tag.parse().unwrap()));
        store.check_spelling(tags.iter().map(|tag| (&name, tag))).unwrap();
    }
}
