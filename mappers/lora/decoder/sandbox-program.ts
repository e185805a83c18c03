/**
 * The program of the decoder process, in plain JavaScript: it is handed to Node as text, so that it needs no file of
 * its own in a bundle. One line of JSON in (`{id, key, source?, call, timeLimitMs}`), one line out.
 *
 * Decoders run in a vm context without a single object of the outer realm: its globals are its own, compiled from
 * `PRELUDE`; input and output are strings; `eval`, `Function` and WebAssembly are off. Large buffers, which no heap
 * limit counts, are refused by size.
 */
const PRELUDE = `
'use strict';
(() => {
  const LIMIT = 65536;
  for (const name of ['SharedArrayBuffer', 'Atomics', 'WebAssembly', 'FinalizationRegistry', 'WeakRef']) delete globalThis[name];
  for (const name of ['resize', 'transfer', 'transferToFixedLength']) delete ArrayBuffer.prototype[name];
  for (const name of ['ArrayBuffer', 'Int8Array', 'Uint8Array', 'Uint8ClampedArray', 'Int16Array', 'Uint16Array',
    'Int32Array', 'Uint32Array', 'Float32Array', 'Float64Array', 'BigInt64Array', 'BigUint64Array']) {
    const Original = globalThis[name];
    if (Original === undefined) continue;
    const Bounded = new Proxy(Original, {
      construct(target, args, newTarget) {
        const size = typeof args[0] === 'object' && args[0] !== null ? args[0].length : args[0];
        if (Number(size) > LIMIT) throw new RangeError(name + ' of more than ' + LIMIT + ' elements');
        return Reflect.construct(target, args, newTarget);
      },
    });
    Object.defineProperty(Original.prototype, 'constructor', { value: Bounded });
    globalThis[name] = Bounded;
  }
  delete globalThis.Float16Array;
  const quiet = () => {};
  globalThis.console = { log: quiet, info: quiet, warn: quiet, error: quiet, debug: quiet };
  const view = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  class Buffer extends Uint8Array {
    static from(data, encoding) {
      if (typeof data !== 'string') return new Buffer(data);
      if (encoding === 'hex') return new Buffer((data.match(/[0-9a-f]{2}/gi) || []).map((pair) => parseInt(pair, 16)));
      if (encoding === 'base64') {
        const codes = [...data.replace(/[^A-Za-z0-9+/]/g, '')].map((letter) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'.indexOf(letter));
        const out = [];
        for (let i = 0; i + 1 < codes.length; i += 4) {
          const word = (codes[i] << 18) | (codes[i + 1] << 12) | ((codes[i + 2] || 0) << 6) | (codes[i + 3] || 0);
          out.push(word >> 16 & 255);
          if (i + 2 < codes.length) out.push(word >> 8 & 255);
          if (i + 3 < codes.length) out.push(word & 255);
        }
        return new Buffer(out);
      }
      return new Buffer([...unescape(encodeURIComponent(data))].map((letter) => letter.charCodeAt(0)));
    }
    static alloc(size) { return new Buffer(size); }
    static concat(list) { return new Buffer(list.flatMap((each) => [...each])); }
    static isBuffer(value) { return value instanceof Buffer; }
    slice(from, to) { return this.subarray(from, to); }
    toString(encoding, from, to) {
      const bytes = [...this.subarray(from, to)];
      if (encoding === 'hex') return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join('');
      const text = String.fromCharCode(...bytes);
      try { return encoding === 'ascii' || encoding === 'latin1' ? text : decodeURIComponent(escape(text)); } catch { return text; }
    }
  }
  for (const [name, type, size] of [['Int8', 'Int8', 1], ['UInt8', 'Uint8', 1], ['Int16', 'Int16', 2], ['UInt16', 'Uint16', 2],
    ['Int32', 'Int32', 4], ['UInt32', 'Uint32', 4], ['Float', 'Float32', 4], ['Double', 'Float64', 8]]) {
    for (const order of size === 1 ? [''] : ['BE', 'LE']) {
      const little = order === 'LE';
      Buffer.prototype['read' + name + order] = function (at = 0) { return view(this)['get' + type](at, little); };
      Buffer.prototype['write' + name + order] = function (value, at = 0) { view(this)['set' + type](at, value, little); return at + size; };
      Buffer.prototype[('read' + name + order).replace('UInt', 'Uint')] = Buffer.prototype['read' + name + order];
    }
  }
  globalThis.Buffer = Buffer;
  globalThis.module = { exports: {} };
  globalThis.exports = globalThis.module.exports;
})();
`

/** Compiled after the decoder, in the same context: calls whichever entry point there is and answers in JSON. */
const CALL = `
(() => {
  const find = (name, given) => given || (typeof module === 'object' && module && module.exports && module.exports[name]);
  const decode = find('decodeUplink', typeof decodeUplink === 'function' ? decodeUplink : undefined);
  const encode = find('encodeDownlink', typeof encodeDownlink === 'function' ? encodeDownlink : undefined);
  const legacyDecode = [
    typeof Decoder === 'function' ? (bytes, port) => Decoder(bytes, port) : undefined,
    typeof Decode === 'function' ? (bytes, port) => Decode(port, bytes) : undefined,
    typeof decoder === 'function' ? (bytes, port) => decoder(bytes, port) : undefined,
  ].find((one) => one !== undefined);
  const legacyEncode = [
    typeof Encoder === 'function' ? (data, port) => Encoder(data, port) : undefined,
    typeof Encode === 'function' ? (data, port) => Encode(port, data) : undefined,
  ].find((one) => one !== undefined);
  const words = (list) => (Array.isArray(list) ? list.slice(0, 8).map((one) => String(one).slice(0, 200)) : []);
  return (text) => {
    try {
      const input = JSON.parse(text);
      if (input.kind === 'decode') {
        if (decode !== undefined && decode !== false) {
          const result = decode({ bytes: input.bytes, fPort: input.port, recvTime: new Date(input.atMs), variables: {} });
          if (typeof result !== 'object' || result === null) return JSON.stringify({ error: 'decodeUplink returned no object' });
          const errors = words(result.errors);
          if (errors.length > 0) return JSON.stringify({ error: errors.join('; ') });
          return JSON.stringify({ data: result.data, warnings: words(result.warnings) });
        }
        if (legacyDecode !== undefined) return JSON.stringify({ data: legacyDecode(input.bytes, input.port), warnings: [] });
        return JSON.stringify({ missing: 'decodeUplink or Decoder' });
      }
      if (encode !== undefined && encode !== false) {
        const result = encode({ data: input.data, fPort: input.port, variables: {} });
        const errors = words(result && result.errors);
        if (errors.length > 0) return JSON.stringify({ error: errors.join('; ') });
        return JSON.stringify({ bytes: Array.from(result.bytes), port: result.fPort });
      }
      if (legacyEncode !== undefined) return JSON.stringify({ bytes: Array.from(legacyEncode(input.data, input.port)) });
      return JSON.stringify({ missing: 'encodeDownlink or Encoder' });
    } catch (error) {
      const stack = error && typeof error.stack === 'string' ? error.stack : '';
      return JSON.stringify({ error: String((error && error.message) || error).slice(0, 500), stack: stack.slice(0, 2000) });
    }
  };
})()
`

export const SANDBOX_PROGRAM = `
'use strict';
const vm = require('node:vm');
const prelude = new vm.Script(${JSON.stringify(PRELUDE)}, { filename: 'prelude.js' });
const caller = new vm.Script(${JSON.stringify(CALL)}, { filename: 'caller.js' });
const invoke = new vm.Script('__call(__input)', { filename: 'invoke.js' });
for (const name of ['fetch', 'WebSocket', 'EventSource', 'require', 'module', 'exports']) delete globalThis[name];
const MAX_CONTEXTS = 64;
const contexts = new Map();
function contextOf(key, source, timeout) {
  const known = contexts.get(key);
  if (known !== undefined) { contexts.delete(key); contexts.set(key, known); return known; }
  if (source === undefined) return undefined;
  const context = vm.createContext(vm.constants.DONT_CONTEXTIFY, { codeGeneration: { strings: false, wasm: false }, microtaskMode: 'afterEvaluate' });
  prelude.runInContext(context);
  new vm.Script(source, { filename: 'decoder.js' }).runInContext(context, { timeout });
  context.__call = caller.runInContext(context, { timeout });
  if (contexts.size >= MAX_CONTEXTS) contexts.delete(contexts.keys().next().value);
  contexts.set(key, context);
  return context;
}
function say(answer) { process.stdout.write(JSON.stringify(answer) + '\\n'); }
const MAX_TRIES = 5;
// The limit is on the clock, as vm has no other. On a machine with too much to do, a decoder that was hardly given the
// processor is not to blame and gets another try.
function starved(before, timeLimitMs) {
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000 < timeLimitMs / 2;
}
function work({ id, key, source, call, timeLimitMs }) {
  for (let tries = 1; ; tries++) {
    const before = process.cpuUsage();
    try {
      const context = contextOf(key, source, timeLimitMs);
      if (context === undefined) return say({ id, needSource: true });
      context.__input = call;
      const result = invoke.runInContext(context, { timeout: timeLimitMs });
      return say({ id, result: typeof result === 'string' && result.length <= 65536 ? result : JSON.stringify({ error: 'the result is too large' }) });
    } catch (error) {
      contexts.delete(key);
      if (error && error.code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') {
        if (tries < MAX_TRIES && starved(before, timeLimitMs)) {
          if (source === undefined) return say({ id, needSource: true });
          continue;
        }
        return say({ id, timedOut: true });
      }
      let message = 'the decoder threw';
      let stack = '';
      try { message = String(error.message).slice(0, 500); stack = String(error.stack).slice(0, 2000); } catch {}
      return say({ id, result: JSON.stringify({ error: message, stack }) });
    }
  }
}
let pending = '';
process.stdin.setEncoding('utf8');
process.stdin.on('data', (text) => {
  pending += text;
  for (let end = pending.indexOf('\\n'); end >= 0; end = pending.indexOf('\\n')) {
    const line = pending.slice(0, end);
    pending = pending.slice(end + 1);
    work(JSON.parse(line));
  }
});
process.stdin.on('end', () => process.exit(0));
`
