//! Workers that do not keep to the frames: they cost what they have begun, and nobody else.

use serde_json::json;

use crate::harness::{Package, par, scratch};

/// Uses one id for two calls at a time, as no worker of ours does.
const CODE: &str = "
import asyncio, itertools
from pixell_runtime import runtime

async def twice():
    runtime._calls._ids = itertools.repeat(1 << 63)
    await asyncio.gather(runtime.acall('waits'), runtime.acall('waits'))

async def again():
    ids = runtime._calls._ids
    runtime._calls._ids = itertools.repeat(1 << 63)
    told = [await runtime.acall('quick'), await runtime.acall('quick')]
    runtime._calls._ids = ids
    return told

async def waits():
    await asyncio.sleep(60)

async def quick():
    return 'quick'
";

#[tokio::test]
async fn a_worker_that_uses_an_id_while_it_is_taken_is_replaced() {
    let folder = scratch();
    let package = |name: &str, exports: &[&str]| {
        let export = |name: &&str| format!("  - {{id: {name}, handler: 'main:{name}'}}\n");
        let exports = exports.iter().map(export).collect::<String>();
        let package = Package::new(name, "1.0.0", &format!("exports:\n{exports}")).file("main.py", CODE);
        package.directory(folder.path())
    };
    let par =
        par().source(package("broken", &["twice", "again"])).source(package("sound", &["waits", "quick"]));
    let par = par.allow("worker_died").allow("access").allow("agent_call").start().await;
    let told = par.http.invoke("twice", &json!({})).await.problem(502, "worker_crashed");
    assert!(told["detail"].as_str().is_some_and(|text| text.contains("id that is taken")), "{told}");
    // An id that is free may be used again, and the package goes on.
    assert_eq!(par.http.invoke("again", &json!({})).await.ok(), json!(["quick", "quick"]));
    assert_eq!(par.http.invoke("quick", &json!({})).await.ok(), "quick");
}
