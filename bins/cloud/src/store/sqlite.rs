//! The store in one SQLite file: write-ahead log, own migrations, real transactions.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::Row as _;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use super::{Change, CloudStore, Document, Kind, StoreError};

/// The schema, step by step: a step is never changed once released, only followed by another.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE document (
        place INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
        version TEXT NOT NULL, body TEXT NOT NULL,
        UNIQUE (kind, namespace, name));
    CREATE TABLE past (
        kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
        version TEXT NOT NULL, body TEXT NOT NULL,
        PRIMARY KEY (kind, namespace, name, version)) WITHOUT ROWID;
"];

/// Documents in a SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    pool: SqlitePool,
}

impl SqliteStore {
    /// Opens the file, makes it where it is not there, and brings its schema up to date.
    ///
    /// # Errors
    /// When it cannot be opened, is no database, or was written by a newer version.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        // Secrets lie in it; SQLite gives its log the same permissions.
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)
            .map_err(|source| StoreError { what: "open the database", source: source.into() })?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(5));
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .connect_with(options)
            .await
            .map_err(failed("open the database"))?;
        let store = Self { pool };
        store.migrate().await?;
        Ok(store)
    }

    /// Ends all connections, so that the file is whole without its log.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        let what = "bring the schema up to date";
        let row = sqlx::query("PRAGMA user_version").fetch_one(&self.pool).await.map_err(failed(what))?;
        let done = usize::try_from(row.get::<i64, _>(0)).unwrap_or(usize::MAX);
        if done > MIGRATIONS.len() {
            return Err(StoreError {
                what: "open the database",
                source: format!("its schema {done} is newer than this program: use the newer program").into(),
            });
        }
        for (step, text) in MIGRATIONS.iter().enumerate().skip(done) {
            let mut transaction = self.pool.begin().await.map_err(failed(what))?;
            sqlx::raw_sql(*text).execute(&mut *transaction).await.map_err(failed(what))?;
            let mark = format!("PRAGMA user_version = {}", step + 1);
            sqlx::raw_sql(sqlx::AssertSqlSafe(mark))
                .execute(&mut *transaction)
                .await
                .map_err(failed(what))?;
            transaction.commit().await.map_err(failed(what))?;
        }
        Ok(())
    }
}

#[async_trait]
impl CloudStore for SqliteStore {
    async fn get(&self, kind: Kind, namespace: &str, name: &str) -> Result<Option<Document>, StoreError> {
        let row = sqlx::query(
            "SELECT name, version, body FROM document WHERE kind = ? AND namespace = ? AND name = ?",
        )
        .bind(kind.word())
        .bind(namespace)
        .bind(name)
        .fetch_optional(&self.pool)
        .await
        .map_err(failed("read a document"))?;
        Ok(row.as_ref().map(document))
    }

    async fn list(&self, kind: Kind, namespace: &str) -> Result<Vec<Document>, StoreError> {
        let rows = sqlx::query(
            "SELECT name, version, body FROM document WHERE kind = ? AND namespace = ? ORDER BY place",
        )
        .bind(kind.word())
        .bind(namespace)
        .fetch_all(&self.pool)
        .await
        .map_err(failed("list documents"))?;
        Ok(rows.iter().map(document).collect())
    }

    async fn past(&self, kind: Kind, namespace: &str, name: &str) -> Result<Vec<Document>, StoreError> {
        let rows = sqlx::query(
            "SELECT name, version, body FROM past WHERE kind = ? AND namespace = ? AND name = ? ORDER BY version DESC",
        )
        .bind(kind.word())
        .bind(namespace)
        .bind(name)
        .fetch_all(&self.pool)
        .await
        .map_err(failed("read past versions"))?;
        Ok(rows.iter().map(document).collect())
    }

    async fn commit(&self, namespace: &str, changes: Vec<Change>) -> Result<(), StoreError> {
        let what = "commit";
        let mut transaction = self.pool.begin().await.map_err(failed(what))?;
        for change in changes {
            match change {
                Change::Put(kind, document) => {
                    sqlx::query(
                        "INSERT INTO document (kind, namespace, name, version, body) VALUES (?, ?, ?, ?, ?)
                         ON CONFLICT (kind, namespace, name)
                         DO UPDATE SET version = excluded.version, body = excluded.body",
                    )
                    .bind(kind.word())
                    .bind(namespace)
                    .bind(document.name)
                    .bind(document.version)
                    .bind(document.body)
                    .execute(&mut *transaction)
                    .await
                    .map_err(failed(what))?;
                }
                Change::Delete(kind, name) => {
                    for statement in [
                        "DELETE FROM document WHERE kind = ? AND namespace = ? AND name = ?",
                        "DELETE FROM past WHERE kind = ? AND namespace = ? AND name = ?",
                    ] {
                        sqlx::query(statement)
                            .bind(kind.word())
                            .bind(namespace)
                            .bind(&name)
                            .execute(&mut *transaction)
                            .await
                            .map_err(failed(what))?;
                    }
                }
                Change::Keep(kind, document, most) => {
                    sqlx::query(
                        "INSERT OR REPLACE INTO past (kind, namespace, name, version, body) VALUES (?, ?, ?, ?, ?)",
                    )
                    .bind(kind.word())
                    .bind(namespace)
                    .bind(&document.name)
                    .bind(document.version)
                    .bind(document.body)
                    .execute(&mut *transaction)
                    .await
                    .map_err(failed(what))?;
                    sqlx::query(
                        "DELETE FROM past WHERE kind = ?1 AND namespace = ?2 AND name = ?3 AND version NOT IN
                         (SELECT version FROM past WHERE kind = ?1 AND namespace = ?2 AND name = ?3
                          ORDER BY version DESC LIMIT ?4)",
                    )
                    .bind(kind.word())
                    .bind(namespace)
                    .bind(document.name)
                    .bind(i64::try_from(most).unwrap_or(i64::MAX))
                    .execute(&mut *transaction)
                    .await
                    .map_err(failed(what))?;
                }
            }
        }
        transaction.commit().await.map_err(failed(what))
    }
}

fn document(row: &sqlx::sqlite::SqliteRow) -> Document {
    Document { name: row.get(0), version: row.get(1), body: row.get(2) }
}

fn failed(what: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |source| StoreError { what, source: source.into() }
}
