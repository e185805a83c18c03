import type { Browser, CDPSession, Page } from 'playwright-core'
import { percentile, processorSeconds } from '../harness.ts'

/** Each step of the wheel, one a frame of 60 a second, is of six rows of the table. */
const ROW_PX = 40
const STEP_ROWS = 6
const STEP_PX = STEP_ROWS * ROW_PX
const STEP_MS = 1000 / 60
/** How long the last of it may take to be drawn. */
const SETTLE_MS = 1000
/** A frame that came later than this was missed by a display of 60 a second. */
const MISSED_MS = 1.5 * STEP_MS

export interface Scrolled {
  /** Between one frame of the page and the next. Without a graphics card it is drawn by the processors all others use. */
  readonly frameP50Ms: number
  readonly frameP95Ms: number
  /** How far it went: a wheel that a busy machine does not follow scrolls less. */
  readonly rows: number
  /** 0 to 1. */
  readonly missed: number
  /** Processor time of the main thread for scripts, styles and layout, on average a frame. */
  readonly oursMs: number
  /** Processor time of all that the main thread did in one go, that is between two chances to draw: of the slowest of a hundred. */
  readonly taskP99Ms: number
  /** Pictures that came to the display a second. */
  readonly drawnPerSecond: number
  /** Processor time of all of the browser's processes for each of them. */
  readonly browserMs: number
}

/** The same look without anything of ours at work. */
export interface StillPages extends AsyncDisposable {
  /** A table of that length with nothing in it: what the browser takes for itself. */
  readonly empty: Page
  /** The same rows, all of them there, and no script. */
  readonly still: Page
}

/** Pages beside the one that shows the table, for `steps` of the wheel. */
export async function stillPages(page: Page, steps: number): Promise<StillPages> {
  // A view that is opened may show what it knew, and then for a moment that it is being read.
  const look = await page.waitForFunction(`(() => {
    if (document.querySelector('.rows .row') === null) return false
    const style = [...document.styleSheets].flatMap((sheet) => [...sheet.cssRules]).map((rule) => rule.cssText).join('\\n')
    const rows = [...document.querySelectorAll('.rows .row')].map((row) => row.outerHTML)
    const house = document.querySelector('.house').cloneNode(true)
    house.querySelector('.rows').textContent = '@rows@'
    const [before, after] = house.outerHTML.split('@rows@')
    return ['<!doctype html><html lang="en"><style>' + style + '</style><div id="app">' + before, after + '</div></html>', rows]
  })()`)
  const [before, after, rows] = (await look.jsonValue()) as [string, string, string[]]
  const count = STEP_ROWS * steps + 100
  const all = Array.from({ length: count }, (_, index) => rows[index % rows.length]).join('')
  const context = page.context()
  const empty = await context.newPage()
  await empty.setContent(`${before}<p style="height:${count * ROW_PX}px"></p>${after}`)
  const still = await context.newPage()
  await still.setContent(`${before}${all}${after}`)
  return {
    empty,
    still,
    async [Symbol.asyncDispose]() {
      await empty.close()
      await still.close()
    },
  }
}

/** Turns the wheel over the table that is shown, as a person in a hurry does, while the fleet goes on changing. */
export async function scrolled(browser: Browser, page: Page, steps: number): Promise<Scrolled> {
  await page.bringToFront()
  const session = await page.context().newCDPSession(page)
  const box = await page.locator('.scroller').boundingBox()
  if (box === null) throw new Error('there is no table to be scrolled')
  const place = { x: box.x + box.width / 2, y: box.y + box.height / 2 }
  await page.mouse.move(place.x, place.y)
  await session.send('Performance.enable', { timeDomain: 'threadTicks' })
  const before = await oursOf(session)
  const usedBefore = await browserSeconds(browser)
  await browser.startTracing(page, {
    categories: ['toplevel', 'disabled-by-default-devtools.timeline.frame', 'devtools.timeline.frame'],
  })
  await page.evaluate(`(() => {
    const frames = (window.benchFrames = { took: [], on: true, top: document.querySelector('.scroller').scrollTop })
    let lastMs
    const frame = () => {
      const nowMs = performance.now()
      if (lastMs !== undefined) frames.took.push(nowMs - lastMs)
      lastMs = nowMs
      if (frames.on) requestAnimationFrame(frame)
    }
    requestAnimationFrame(frame)
  })()`)
  const startMs = performance.now()
  const turned: Promise<unknown>[] = []
  for (let step = 0; step < steps; step++) {
    await new Promise<void>((resolve) => setTimeout(resolve, Math.max(0, startMs + step * STEP_MS - performance.now())))
    // Not waited for one by one: a wheel does not wait for the page either.
    const turn = session.send('Input.dispatchMouseEvent', { type: 'mouseWheel', ...place, deltaX: 0, deltaY: STEP_PX })
    turned.push(turn.catch(() => {}))
  }
  // A busy browser answers some of them late and some, which it took together, not at all.
  await Promise.race([Promise.all(turned), new Promise<void>((resolve) => setTimeout(resolve, SETTLE_MS))])
  const { took, px } = await page.evaluate<{ took: number[]; px: number }>(`(() => {
    benchFrames.on = false
    return { took: benchFrames.took, px: document.querySelector('.scroller').scrollTop - benchFrames.top }
  })()`)
  const after = await oursOf(session)
  const tookSeconds = (performance.now() - startMs) / 1000
  const usedSeconds = (await browserSeconds(browser)) - usedBefore
  const { traceEvents } = JSON.parse((await browser.stopTracing()).toString('utf8')) as Trace
  const tasks = tasksOf(traceEvents)
  const drawn = drawnOf(traceEvents)
  await session.detach()
  if (px <= 0) throw new Error('the wheel did not move the table')
  return {
    frameP50Ms: percentile(took, 0.5),
    frameP95Ms: percentile(took, 0.95),
    rows: px / ROW_PX,
    missed: took.filter((ms) => ms > MISSED_MS).length / took.length,
    oursMs: (after - before) / took.length,
    taskP99Ms: percentile(tasks, 0.99),
    drawnPerSecond: drawn / tookSeconds,
    browserMs: (usedSeconds * 1000) / drawn,
  }
}

/** Processor time, not time by the clock: what others on the machine do is not the page's. */
async function oursOf(session: CDPSession): Promise<number> {
  const { metrics } = await session.send('Performance.getMetrics')
  const of = (name: string) => (metrics.find((each) => each.name === name)?.value ?? 0) * 1000
  return of('ScriptDuration') + of('RecalcStyleDuration') + of('LayoutDuration')
}

/** Of all processes of the browser, since it was started. */
async function browserSeconds(browser: Browser): Promise<number> {
  const session = await browser.newBrowserCDPSession()
  const { processInfo } = await session.send('SystemInfo.getProcessInfo')
  await session.detach()
  const used = await Promise.all(processInfo.map(({ id }) => processorSeconds(id)))
  return used.reduce((sum, seconds) => sum + seconds, 0)
}

interface Trace {
  readonly traceEvents: readonly TraceEvent[]
}

interface TraceEvent {
  readonly name: string
  readonly pid: number
  readonly tid: number
  readonly args?: { readonly name?: string }
  /** Processor time of the thread, microseconds. */
  readonly tdur?: number
}

/** Milliseconds of processor time of each task that the busiest page's main thread ran for half a millisecond or more. */
function tasksOf(traceEvents: readonly TraceEvent[]): number[] {
  const main = new Set(
    traceEvents
      .filter(({ name, args }) => name === 'thread_name' && args?.name === 'CrRendererMain')
      .map(({ pid, tid }) => `${pid} ${tid}`),
  )
  const of = new Map<string, number[]>()
  for (const { name, pid, tid, tdur = 0 } of traceEvents) {
    const thread = `${pid} ${tid}`
    if (!name.endsWith('RunTask') || !main.has(thread) || tdur < 500) continue
    of.set(thread, [...(of.get(thread) ?? []), tdur / 1000])
  }
  const sum = (tasks: readonly number[]) => tasks.reduce((total, ms) => total + ms, 0)
  return [...of.values()].sort((a, b) => sum(b) - sum(a))[0] ?? []
}

/** Pictures of the page that drew most: those in the background draw a few. */
function drawnOf(traceEvents: readonly TraceEvent[]): number {
  const of = new Map<number, number>()
  for (const { name, pid } of traceEvents) if (name === 'DrawFrame') of.set(pid, (of.get(pid) ?? 0) + 1)
  return Math.max(0, ...of.values())
}
