//! Which customer of the billing side a tenant is: by a file, by what its tokens say, or by its own name.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use super::book::{Book, BookError};
use crate::auth::Accounts;

/// How customers of Stripe are named: a tenant that is called so is its own customer.
const OWN: &str = "cus_";

/// Customers of tenants. The file is stronger than tokens, and both are stronger than a name.
#[derive(Debug, Default)]
pub(super) struct Customers {
    /// A file of YAML (or JSON) that maps tenants to customers.
    file: Option<PathBuf>,
    /// When the file was last changed, as of its last reading.
    changed: Option<SystemTime>,
    mapped: BTreeMap<String, String>,
    /// Where tokens are noted; none: what they say does not count.
    accounts: Option<Arc<Accounts>>,
    /// What tokens have said, this process's and former ones'; none: the book was not asked yet.
    claimed: Option<HashMap<String, String>>,
    /// What they have said and is not in the book yet.
    news: HashMap<Arc<str>, Box<str>>,
}

/// Why nobody knows who is whose customer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CustomersError {
    /// The file cannot be read.
    #[error("{0} cannot be read")]
    Unreadable(PathBuf, #[source] io::Error),
    /// It is no map of texts.
    #[error("{0} must map tenants to customers")]
    NoMap(PathBuf, #[source] serde_yaml::Error),
    /// The book, in which is what tokens have said.
    #[error(transparent)]
    Book(#[from] BookError),
}

impl Customers {
    /// Of this file, and of what is noted here.
    pub(super) fn new(file: Option<PathBuf>, accounts: Option<Arc<Accounts>>) -> Self {
        Self { file, accounts, ..Self::default() }
    }

    /// Reads what has changed; whoever was nobody's customer may be one now, and is tried at once.
    pub(super) fn refresh(&mut self, book: &mut Book) -> Result<(), CustomersError> {
        let is_new = self.learn(book)?;
        if self.read()? || is_new {
            book.retry_unmapped()?;
        }
        Ok(())
    }

    /// Writes down what tokens have said: a tenant is its customer's after a restart as well, without a token. Gives
    /// whether anything is new.
    pub(super) fn learn(&mut self, book: &mut Book) -> Result<bool, BookError> {
        let Some(accounts) = &self.accounts else { return Ok(false) };
        self.news.extend(accounts.take());
        let mut claimed = match self.claimed.take() {
            Some(claimed) => claimed,
            None => book.claimed()?,
        };
        self.news.retain(|tenant, customer| claimed.get(&**tenant).is_none_or(|known| **known != **customer));
        let written = book.claim(self.news.iter().map(|(tenant, customer)| (&**tenant, &**customer)));
        if written.is_ok() {
            for (tenant, customer) in self.news.drain() {
                let (tenant, customer) = (String::from(&*tenant), String::from(customer));
                let former = claimed.get(&tenant);
                tracing::info!(event = "customer_named", tenant, customer, former, "by a token");
                claimed.insert(tenant, customer);
            }
        }
        self.claimed = Some(claimed);
        Ok(written? > 0)
    }

    /// Reads the file if it has changed. Gives whether it has.
    fn read(&mut self) -> Result<bool, CustomersError> {
        let Some(path) = &self.file else { return Ok(false) };
        let changed = fs::metadata(path).and_then(|told| told.modified()).ok();
        if changed.is_some() && changed == self.changed {
            return Ok(false);
        }
        self.mapped = read(path)?;
        self.changed = changed;
        Ok(true)
    }

    /// The customer of a tenant, if it has one.
    pub(super) fn of<'a>(&'a self, tenant: &'a str) -> Option<&'a str> {
        let claimed = || self.claimed.as_ref().and_then(|claimed| claimed.get(tenant));
        let given = self.mapped.get(tenant).or_else(claimed).map(String::as_str);
        given.or_else(|| tenant.starts_with(OWN).then_some(tenant))
    }
}

fn read(path: &Path) -> Result<BTreeMap<String, String>, CustomersError> {
    let text =
        fs::read_to_string(path).map_err(|error| CustomersError::Unreadable(path.to_owned(), error))?;
    let read: Option<_> =
        serde_yaml::from_str(&text).map_err(|error| CustomersError::NoMap(path.to_owned(), error))?;
    Ok(read.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Caller, Standing};

    fn noted(accounts: &Accounts, tenant: &str, customer: &str) {
        let caller = Caller::new("s", Some(tenant), Vec::new(), Vec::new(), &Standing::default());
        accounts.note(&caller.paid_by(Some(customer)));
    }

    #[test]
    fn a_tenant_is_mapped_or_its_own_customer_or_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("customers.yaml");
        fs::write(&path, "acme: cus_1\n\"cus_2\": cus_3\n").unwrap();
        let mut customers = Customers::new(Some(path.clone()), None);
        assert!(customers.read().unwrap() && !customers.read().unwrap());
        assert_eq!(customers.of("acme"), Some("cus_1"));
        assert_eq!(customers.of("cus_2"), Some("cus_3"), "the file is stronger");
        assert_eq!(customers.of("cus_9"), Some("cus_9"));
        assert_eq!(customers.of("evil"), None);
        for (text, is_map) in [("", true), ("- acme\n", false)] {
            fs::write(&path, text).unwrap();
            assert_eq!(read(&path).is_ok(), is_map, "{text}");
        }
        assert!(matches!(read(&path), Err(CustomersError::NoMap(..))));
        assert!(matches!(read(&folder.path().join("no")), Err(CustomersError::Unreadable(..))));
    }

    #[test]
    fn what_the_latest_token_says_is_kept_and_weaker_than_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut book = Book::open(folder.path()).unwrap();
        let path = folder.path().join("customers.yaml");
        fs::write(&path, "acme: cus_1\n").unwrap();
        let accounts = Arc::new(Accounts::default());
        let mut customers = Customers::new(Some(path), Some(Arc::clone(&accounts)));
        for (tenant, customer) in
            [("acme", "cus_7"), ("cus_2", "cus_8"), ("evil", "cus_9"), ("evil", "cus_4")]
        {
            noted(&accounts, tenant, customer);
        }
        customers.refresh(&mut book).unwrap();
        let who =
            |customers: &Customers| ["acme", "cus_2", "evil"].map(|one| customers.of(one).map(str::to_owned));
        let wanted = ["cus_1", "cus_8", "cus_4"].map(|one| Some(one.to_owned()));
        assert_eq!(who(&customers), wanted);
        noted(&accounts, "evil", "cus_4");
        assert!(!customers.learn(&mut book).unwrap(), "it says what is known");
        drop(book);
        // Of another process, after which no token has come.
        let mut book = Book::open(folder.path()).unwrap();
        let mut customers = Customers::new(None, Some(Arc::default()));
        customers.refresh(&mut book).unwrap();
        assert_eq!(customers.of("acme"), Some("cus_7"));
        // Nobody asks tokens any more.
        let mut customers = Customers::new(None, None);
        customers.refresh(&mut book).unwrap();
        assert_eq!(customers.of("acme"), None);
    }
}
