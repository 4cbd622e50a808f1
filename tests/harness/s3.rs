//! A real S3 server in this process: a directory behind the S3 protocol, signatures of requests checked.

use std::{fs, path::PathBuf};

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use s3s::{
    S3, S3Request, S3Response, S3Result,
    auth::SimpleAuth,
    dto::{ETag, ETagCondition, GetObjectInput, GetObjectOutput},
    s3_error,
    service::S3ServiceBuilder,
};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};

use super::{ParBuilder, scratch};

const ACCESS_KEY: &str = "AKIATESTONLYTESTONLY";

/// Runs until it is dropped.
pub(crate) struct S3Server {
    /// Where it listens on 127.0.0.1.
    pub(crate) port: u16,
    root: TempDir,
    secret: String,
    task: JoinHandle<()>,
}

/// The directory, with the conditions of requests that its author left out.
#[derive(Debug)]
struct Conditional(FileSystem);

#[async_trait::async_trait]
impl S3 for Conditional {
    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let (expected, known) = (request.input.if_match.clone(), request.input.if_none_match.clone());
        let answer = self.0.get_object(request).await?;
        let fits = |condition: &ETagCondition| match condition {
            ETagCondition::Any => true,
            ETagCondition::ETag(wanted) => {
                answer.output.e_tag.as_ref().is_some_and(|tag: &ETag| tag.weak_cmp(wanted))
            }
        };
        if expected.is_some_and(|condition| !fits(&condition)) {
            return Err(s3_error!(PreconditionFailed));
        }
        if known.is_some_and(|condition| fits(&condition)) {
            return Err(s3_error!(NotModified));
        }
        Ok(answer)
    }
}

impl S3Server {
    /// Listens on a free port of 127.0.0.1, empty.
    pub(crate) async fn start() -> Self {
        let root = scratch();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let secret = format!("opens-nothing-but-the-server-at-{port:05}");
        let files = FileSystem::new(root.path()).expect("a directory");
        let mut builder = S3ServiceBuilder::new(Conditional(files));
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, secret.as_str()));
        let service = builder.build();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service.clone());
                connections.spawn(connection);
            }
        });
        Self { port, root, secret, task }
    }

    /// Stores an object whole, over one that was there; returns its address.
    pub(crate) fn put(&self, bucket: &str, key: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(bucket, key);
        fs::create_dir_all(path.parent().expect("it lies in its bucket")).expect("a directory");
        let beside = self.root.path().join("incoming");
        fs::write(&beside, bytes).expect("a file");
        fs::rename(beside, path).expect("a rename");
        format!("s3://{bucket}/{key}")
    }

    fn path(&self, bucket: &str, key: &str) -> PathBuf {
        self.root.path().join(bucket).join(key)
    }

    /// A `par` that reaches this server through `port`, and may read.
    pub(crate) fn known_to(&self, par: ParBuilder, port: u16) -> ParBuilder {
        par.env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", &self.secret)
            .env("AWS_REGION", "eu-central-1")
            .env("S3_ENDPOINT_URL", format!("http://127.0.0.1:{port}"))
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}
