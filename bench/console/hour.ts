import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { buildConsole } from '../../console/build.ts'
import { processorSeconds, residentMiB, significant } from '../harness.ts'
import { type BarePage, startBarePage } from './bare-page.ts'
import { invitation, openView, startFleet, VIEWS } from './fleet.ts'

/**
 * What a page that is looked at for an hour holds: a fleet that changes all the time, a person who every minute goes
 * through the views and comes back to the longest table. Too long for the other benchmarks; run it by itself:
 *
 *     node bench/console/hour.ts [--minutes 60] [--gateways 1000]
 *
 * One JSON line a minute, then one with the slope over all minutes but the first five.
 */
const { values: flags } = parseArgs({
  options: { minutes: { type: 'string', default: '60' }, gateways: { type: 'string', default: '1000' } },
})
const minutes = Number(flags.minutes)
const gateways = Number(flags.gateways)
const WARM_UP_MINUTES = 5
/** One device of each gateway every ten seconds, all of its values: 1 000 changes a second of 1 000 gateways. */
const CHANGES = { properties: 10, atOnce: 1, everyMs: 10_000 }

interface Sample {
  readonly minute: number
  readonly heapMiB: number
  readonly nodes: number
  readonly listeners: number
  readonly rendererMiB: number
  /** Processor time of each since the sample before, % of a core. */
  readonly rendererCpu: number
  readonly serverCpu: number
  readonly serverMiB: number
}

const say = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`)
const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/** Growth an hour by least squares. */
function slopePerHour(samples: readonly Sample[], of: (sample: Sample) => number): number {
  const meanX = samples.reduce((sum, { minute }) => sum + minute, 0) / samples.length
  const meanY = samples.reduce((sum, sample) => sum + of(sample), 0) / samples.length
  const over = samples.reduce((sum, sample) => sum + (sample.minute - meanX) * (of(sample) - meanY), 0)
  return (60 * over) / samples.reduce((sum, { minute }) => sum + (minute - meanX) ** 2, 0)
}

const SIGN_IN_MS = 60_000

async function signedIn(page: BarePage): Promise<void> {
  const startMs = performance.now()
  while (!(await page.evaluate<boolean>(`document.querySelector('.rows .row') !== null`))) {
    if (performance.now() - startMs > SIGN_IN_MS) throw new Error('the fleet is not there a minute after signing in')
    await pause(200)
  }
}

async function walk(page: BarePage): Promise<void> {
  for (const [path, selector] of Object.values(VIEWS)) await openView(page, path, selector)
  await openView(page, ...VIEWS['devices of all'])
  await page.evaluate(`(async () => {
    const box = document.querySelector('.scroller')
    for (let count = 0; count < 60; count++) {
      box.scrollTop += box.clientHeight / 3
      await new Promise((resolve) => requestAnimationFrame(resolve))
    }
    box.scrollTop = 0
  })()`)
}

async function heapOf(page: BarePage) {
  // Twice: what a finalizer lets go of is collected by the second.
  await page.send('HeapProfiler.collectGarbage')
  await page.send('HeapProfiler.collectGarbage')
  const { metrics } = await page.send<{ metrics: { name: string; value: number }[] }>('Performance.getMetrics')
  const of = (name: string) => metrics.find((each) => each.name === name)?.value ?? Number.NaN
  return { heapMiB: of('JSHeapUsedSize') / 1024 / 1024, nodes: of('Nodes'), listeners: of('JSEventListeners') }
}

/** What the page takes for a moment, to be known by it among the browser's processes. */
const MARK_MIB = 64

/**
 * The process the page is in. Chromium keeps a spare one, too, and none of the protocol's answers ties a page to a process:
 * so the page takes memory, and the process that grew by it is the one.
 */
async function rendererOf(page: BarePage): Promise<number> {
  const renderers = await page.renderers()
  const residents = () => Promise.all(renderers.map((id) => residentMiB(id)))
  await heapOf(page)
  const before = await residents()
  await page.evaluate(`window.benchMark = new Uint8Array(${MARK_MIB} * 1024 * 1024).fill(1), 0`)
  const held = await residents()
  await page.evaluate('delete window.benchMark')
  await heapOf(page)
  const after = await residents()
  const moved = renderers.map((id, index) => ({
    ...{ id, grewMiB: held[index]! - before[index]!, fellMiB: held[index]! - after[index]! },
  }))
  say({
    renderers: moved.map((each) => ({
      ...each,
      grewMiB: significant(each.grewMiB),
      fellMiB: significant(each.fellMiB),
    })),
  })
  const marked = moved.filter(({ grewMiB, fellMiB }) => grewMiB > MARK_MIB / 2 && fellMiB > MARK_MIB / 2)
  if (marked.length !== 1) throw new Error(`${marked.length} processes hold the page, by the ${MARK_MIB} MiB it took`)
  return marked[0]!.id
}

await buildConsole(fileURLToPath(new URL('../../console/dist', import.meta.url)))
await using fleet = await startFleet({
  gateways,
  ...CHANGES,
  seconds: minutes * 60 + 600,
})
const { cloud } = fleet
await using page = await startBarePage(await invitation(cloud), 1280, 860)
await page.send('Performance.enable')
await signedIn(page)
await walk(page)
const renderer = await rendererOf(page)
const samples: Sample[] = []
let usedBefore: readonly [number, number] = [await processorSeconds(renderer), await processorSeconds(cloud.pid)]
let atMs = performance.now()
const startMs = atMs
for (let minute = 0; minute <= minutes; minute++) {
  await pause(Math.max(0, startMs + minute * 60_000 - performance.now()))
  await walk(page)
  await pause(2_000)
  const heap = await heapOf(page)
  const used = [await processorSeconds(renderer), await processorSeconds(cloud.pid)] as const
  const nowMs = performance.now()
  const share = (index: 0 | 1) => (100_000 * (used[index] - usedBefore[index])) / (nowMs - atMs)
  const sample: Sample = {
    minute: (nowMs - startMs) / 60_000,
    ...heap,
    rendererMiB: await residentMiB(renderer),
    rendererCpu: share(0),
    serverCpu: share(1),
    serverMiB: await residentMiB(cloud.pid),
  }
  usedBefore = used
  atMs = nowMs
  samples.push(sample)
  say(Object.fromEntries(Object.entries(sample).map(([name, value]) => [name, significant(value)])))
}
const steady = samples.filter(({ minute }) => minute >= Math.min(WARM_UP_MINUTES, minutes / 4))
say({
  figure: `page memory, growth an hour over ${minutes} minutes of ${gateways} gateways x 10`,
  heapMiB: significant(slopePerHour(steady, ({ heapMiB }) => heapMiB)),
  rendererMiB: significant(slopePerHour(steady, ({ rendererMiB }) => rendererMiB)),
  nodes: significant(slopePerHour(steady, ({ nodes }) => nodes)),
  listeners: significant(slopePerHour(steady, ({ listeners }) => listeners)),
})
