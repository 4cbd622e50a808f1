// grpc-js as a client of any service: calls from stdin as JSON, what came of each to stdout.
//
// Messages are bytes in base64; nothing is known about them. `client.py` does the same with grpcio.
import { createRequire } from 'node:module';
import { setTimeout as pause } from 'node:timers/promises';
import { text } from 'node:stream/consumers';

const grpc = createRequire(`${process.argv[2]}/`)('@grpc/grpc-js');
const LONGEST = 64 * 1024 * 1024;
const same = (bytes) => bytes;

const encoded = (metadata) =>
  metadata === undefined
    ? []
    : Object.keys(metadata.getMap()).flatMap((key) =>
        metadata.get(key).map((value) => [key, Buffer.isBuffer(value) ? value.toString('base64') : value]),
      );

const decoded = (pairs) => {
  const metadata = new grpc.Metadata();
  for (const [key, value] of pairs) {
    metadata.add(key, key.endsWith('-bin') ? Buffer.from(value, 'base64') : value);
  }
  return metadata;
};

const answered = (client, call) =>
  new Promise((resolve) => {
    const requests = call.requests.map((request) => Buffer.from(request, 'base64'));
    const begin = performance.now();
    const seconds = () => (performance.now() - begin) / 1000;
    const told = { code: 0, details: '', responses: [], times: [], initial: [], trailing: [], seconds: 0 };
    const options = call.timeout === null ? {} : { deadline: Date.now() + call.timeout * 1000 };
    let running;
    const came = (response) => {
      told.times.push(seconds());
      told.responses.push(response.toString('base64'));
      if (call.take !== null && told.responses.length >= call.take) running.cancel();
    };
    const replied = (error, response) => {
      if (!error) came(response);
    };
    const metadata = decoded(call.metadata);
    const common = [call.path, same, same];
    if (call.kind === 'unary') {
      running = client.makeUnaryRequest(...common, requests[0], metadata, options, replied);
    } else if (call.kind === 'server') {
      running = client.makeServerStreamRequest(...common, requests[0], metadata, options);
    } else if (call.kind === 'client') {
      running = client.makeClientStreamRequest(...common, metadata, options, replied);
    } else {
      running = client.makeBidiStreamRequest(...common, metadata, options);
    }
    running.on('metadata', (initial) => {
      told.initial = encoded(initial);
    });
    running.on('status', ({ code, details, metadata: trailing }) => {
      Object.assign(told, { code, details, trailing: encoded(trailing), seconds: seconds() });
      // The reply comes after its status.
      setImmediate(() => resolve(told));
    });
    if (call.kind === 'server' || call.kind === 'bidi') {
      running.on('data', came);
      running.on('error', () => {});
    }
    if (call.kind === 'client' || call.kind === 'bidi') {
      (async () => {
        for (const [number, request] of requests.entries()) {
          if (number > 0 && call.pause) await pause(call.pause * 1000);
          running.write(request);
        }
        running.end();
      })();
    }
  });

const asked = JSON.parse(await text(process.stdin));
const credentials =
  asked.ca === null ? grpc.credentials.createInsecure() : grpc.credentials.createSsl(Buffer.from(asked.ca));
const client = new grpc.Client(asked.target, credentials, {
  'grpc.max_receive_message_length': LONGEST,
  'grpc.max_send_message_length': LONGEST,
});
const told = [];
for (const call of asked.calls) told.push(await answered(client, call));
client.close();
process.stdout.write(JSON.stringify(told));
