//! The connections to PostgreSQL: the URL, TLS, transactions with their repetitions, and the commit.
//!
//! Every transaction begins with local settings, and no connection has a state between two transactions, so a pooler in
//! transaction mode can stand between the bridge and the database. Statements are unnamed and typed: a pooler loses
//! named statements.
//!
//! No timeout limits a commit. A cancelled commit under synchronous replication reports success with a warning, but the
//! standby does not have the transaction. The engine treats every warning during a commit as "not durable".

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use secrecy::ExposeSecret as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Mutex;
use tokio_postgres::error::Severity;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, Config, Connection, NoTls, Row};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::connection_counts::ConnectionCounts;
use super::database_address::ReadPassword;
use super::fault::DbFault;
use crate::time::Clock;
use crate::{failpoint, random};

/// The longest time that a new connection takes.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// The number of times that the engine runs a transaction before the caller gets an error.
const TRIES_MAX: u32 = 5;
/// The mean pause before the second try. Each further pause is twice as long.
const PAUSE: Duration = Duration::from_millis(10);

/// The share of statements that fail when a test injects failures.
const INJECTED_SHARE: f64 = 0.1;

/// The statement that fails with 40001, as any statement of an engine with optimistic concurrency can.
const INJECTED: &str =
    "DO $$ BEGIN RAISE EXCEPTION 'injected' USING ERRCODE = 'serialization_failure'; END $$";

/// The local settings of every transaction. A stopped process would otherwise keep its row locks for ever. Neither
/// timeout limits the commit: a transaction that commits is not idle and waits for no row lock.
///
/// The rows of a group are new, so their pages are in memory: with the default cost of a page, PostgreSQL reads whole
/// tables for each group. A bitmap scan of a queue reads all entries of the queue since the last vacuum, but an index scan
/// leaves out the entries that an earlier scan has found dead.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '4s'; SET LOCAL idle_in_transaction_session_timeout = '5s';
    SET LOCAL random_page_cost = 1.1; SET LOCAL enable_bitmapscan = off";

/// The parameters of a statement, each with its type.
pub(super) type Params<'a> = &'a [(&'a (dyn ToSql + Sync), Type)];

/// The reason why a URL is no URL of a PostgreSQL store. The text does not contain the URL, which has a password.
#[derive(Debug, thiserror::Error)]
pub(super) enum UrlFault {
    #[error("the URL of the store is no URL of a PostgreSQL database")]
    Unreadable,
    #[error("the URL of the store asks for TLS, but the process has no TLS settings")]
    NoTls,
}

/// Opens connections to one database.
pub(super) struct Connector {
    config: Config,
    tls: Option<Arc<ClientConfig>>,
    /// True if a test injects failures: statements and commits then fail at random, except in the last two tries.
    injects: bool,
    password: Option<ReadPassword>,
    clock: Clock,
    pub(super) counts: Arc<ConnectionCounts>,
}

impl Connector {
    /// Parses the URL of a store: `postgres://user:password@host:port/database?parameters`.
    ///
    /// With TLS, the client always verifies the certificate and the name of the server. The modes `verify-ca` and
    /// `verify-full` therefore mean the same as `require`.
    pub(super) fn parse(
        url: &str,
        tls: Option<Arc<ClientConfig>>,
        injects: bool,
    ) -> Result<Self, UrlFault> {
        let url = url
            .replace("sslmode=verify-full", "sslmode=require")
            .replace("sslmode=verify-ca", "sslmode=require");
        let mut config = Config::from_str(&url).map_err(|_password| UrlFault::Unreadable)?;
        if config.get_ssl_mode() == tokio_postgres::config::SslMode::Require && tls.is_none() {
            return Err(UrlFault::NoTls);
        }
        config
            .application_name("imprint-bridge")
            .connect_timeout(CONNECT_MAX)
            .tcp_user_timeout(Duration::from_secs(30))
            .keepalives_idle(Duration::from_secs(30));
        let tls = tls.map(|tls| {
            let mut tls = Arc::unwrap_or_clone(tls);
            tls.alpn_protocols = vec![b"postgresql".to_vec()];
            Arc::new(tls)
        });
        let injects = injects && failpoint::are_compiled();
        Ok(Self {
            config,
            tls,
            injects,
            password: None,
            clock: Clock::machine(),
            counts: Arc::default(),
        })
    }

    /// Reads the password again for each new connection.
    pub(super) fn with_password(self, password: Option<ReadPassword>) -> Self {
        Self { password, ..self }
    }

    /// Counts in these counts.
    pub(super) fn counting(self, counts: Arc<ConnectionCounts>) -> Self {
        Self { counts, ..self }
    }

    /// Returns the time of the monotonic clock.
    pub(super) fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Opens a connection that belongs to no link.
    pub(super) async fn connect_in_time(&self) -> Result<Connected, DbFault> {
        let connected = tokio::time::timeout(CONNECT_MAX, self.connect()).await;
        let connected = connected.map_err(|_late| DbFault::NoAnswer)?;
        connected.map_err(DbFault::Unreachable)
    }

    async fn connect(&self) -> Result<Connected, tokio_postgres::Error> {
        let warnings = Rc::new(Cell::new(0));
        let mut config = self.config.clone();
        if let Some(password) = self.password.as_ref().and_then(|read| read()) {
            config.password(password.expose_secret());
        }
        let client = match &self.tls {
            Some(tls) => {
                let tls = MakeRustlsConnect::new(ClientConfig::clone(tls));
                let (client, connection) = config.connect(tls).await?;
                tokio::task::spawn_local(serve(connection, Rc::clone(&warnings)));
                client
            }
            None => {
                let (client, connection) = config.connect(NoTls).await?;
                tokio::task::spawn_local(serve(connection, Rc::clone(&warnings)));
                client
            }
        };
        Ok(Connected {
            client,
            warnings,
            injects: Cell::new(false),
        })
    }

    /// Runs a whole transaction, and runs it again after a fault that passes.
    ///
    /// # Errors
    /// Returns the fault of the last try.
    pub(super) async fn transact<T>(
        &self,
        link: &DbLink,
        work: impl AsyncFn(&Connected) -> Result<T, DbFault>,
    ) -> Result<T, DbFault> {
        self.repeat(link, async |connected| connected.transaction(&work).await)
            .await
    }

    /// Runs statements that only read, each in its own transaction, and runs them again after a fault that passes.
    ///
    /// # Errors
    /// Returns the fault of the last try.
    pub(super) async fn read<T>(
        &self,
        link: &DbLink,
        read: impl AsyncFn(&Connected) -> Result<T, DbFault>,
    ) -> Result<T, DbFault> {
        self.repeat(link, read).await
    }

    async fn repeat<T>(
        &self,
        link: &DbLink,
        work: impl AsyncFn(&Connected) -> Result<T, DbFault>,
    ) -> Result<T, DbFault> {
        let mut tries = 1;
        loop {
            let injects = self.injects && tries < TRIES_MAX - 1;
            match self.try_once(link, &work, injects).await {
                Err(fault) if fault.is_passing() && tries < TRIES_MAX => {
                    let factor = f64::from(2_u32.saturating_pow(tries - 1));
                    tries += 1;
                    self.counts.repeated();
                    tokio::time::sleep(PAUSE.mul_f64(2.0 * factor * random::jitter())).await;
                }
                result => return result,
            }
        }
    }

    /// Takes the connection out of the link while it works: if this future is dropped, the connection is closed, and
    /// PostgreSQL rolls the transaction back.
    async fn try_once<T>(
        &self,
        link: &DbLink,
        work: &impl AsyncFn(&Connected) -> Result<T, DbFault>,
        injects: bool,
    ) -> Result<T, DbFault> {
        let began = self.clock.monotonic();
        let mut slot = link.open.lock().await;
        let open = slot.take().filter(|open| !open.client.is_closed());
        let connected = match open {
            Some(open) => open,
            None => {
                let connected = self.connect_in_time().await?;
                link.opened.set(link.opened.get().wrapping_add(1));
                connected
            }
        };
        let wait = self.clock.monotonic().saturating_sub(began);
        self.counts.waited(wait);
        connected.injects.set(injects);
        let result = work(&connected).await;
        if !result.as_ref().is_err_and(DbFault::ends_connection) {
            *slot = Some(connected);
        }
        result
    }
}

/// The place of one connection. Its users take turns.
#[derive(Default)]
pub(super) struct DbLink {
    open: Mutex<Option<Connected>>,
    opened: Cell<u64>,
}

impl DbLink {
    /// Returns how many times the connection was opened.
    pub(super) const fn opened(&self) -> u64 {
        self.opened.get()
    }
}

/// An open connection.
pub(super) struct Connected {
    client: Client,
    /// The number of warnings that PostgreSQL has sent on this connection.
    warnings: Rc<Cell<u64>>,
    injects: Cell<bool>,
}

impl Connected {
    /// Fails sometimes, if a test injects failures.
    async fn inject(&self) -> Result<(), DbFault> {
        if self.injects.get() && random::jitter() < INJECTED_SHARE {
            self.client.batch_execute(INJECTED).await?;
        }
        Ok(())
    }

    pub(super) async fn query(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, DbFault> {
        self.inject().await?;
        Ok(self.client.query_typed(sql, params).await?)
    }

    /// Runs a statement that returns at most one row.
    pub(super) async fn query_opt(
        &self,
        sql: &str,
        params: Params<'_>,
    ) -> Result<Option<Row>, DbFault> {
        Ok(self.query(sql, params).await?.into_iter().next())
    }

    /// Runs a statement and returns the number of changed rows.
    pub(super) async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64, DbFault> {
        self.inject().await?;
        Ok(self.client.execute_typed(sql, params).await?)
    }

    /// Runs several statements without parameters.
    pub(super) async fn batch(&self, sql: &str) -> Result<(), DbFault> {
        Ok(self.client.batch_execute(sql).await?)
    }

    async fn transaction<T>(
        &self,
        work: &impl AsyncFn(&Self) -> Result<T, DbFault>,
    ) -> Result<T, DbFault> {
        self.batch(BEGIN).await?;
        match work(self).await {
            Ok(done) => match self.inject().await {
                Ok(()) => self.commit().await.map(|()| done),
                Err(fault) => {
                    let _is_closed = self.batch("ROLLBACK").await;
                    Err(fault)
                }
            },
            Err(fault) => {
                // If this fails, the connection is closed, and PostgreSQL rolls the transaction back.
                let _is_closed = self.batch("ROLLBACK").await;
                Err(fault)
            }
        }
    }

    async fn commit(&self) -> Result<(), DbFault> {
        let before = self.warnings.get();
        let committed = self.client.batch_execute("COMMIT").await;
        committed.map_err(DbFault::of_commit)?;
        match self.warnings.get() == before {
            true => Ok(()),
            false => Err(DbFault::NotReplicated),
        }
    }
}

/// Serves a connection until it ends, and counts the warnings of PostgreSQL.
async fn serve<S, T>(mut connection: Connection<S, T>, warnings: Rc<Cell<u64>>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
        match message {
            Ok(AsyncMessage::Notice(notice))
                if notice.parsed_severity() == Some(Severity::Warning) =>
            {
                warnings.set(warnings.get().saturating_add(1));
            }
            Ok(_) => {}
            Err(_broken) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_parsed_and_never_printed() {
        let parse = |url: &str| Connector::parse(url, None, false).map(|found| found.config);
        let config = parse("postgres://bridge:secret@db.example:5433/outbox").unwrap();
        assert_eq!(config.get_user(), Some("bridge"));
        assert_eq!(config.get_ports(), [5433]);
        assert!(parse("postgres:///outbox?host=/run/pg&user=bridge").is_ok());
        for url in ["postgres://a:secret@h:port/x", "postgres://h/x?secret=1"] {
            let refused = parse(url).map(|_| ()).unwrap_err().to_string();
            assert!(!refused.contains("secret"), "{refused}");
        }
        for mode in ["require", "verify-ca", "verify-full"] {
            let url = format!("postgres://h/x?sslmode={mode}");
            assert!(matches!(parse(&url), Err(UrlFault::NoTls)), "{mode}");
        }
    }
}
