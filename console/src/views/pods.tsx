import { useEffect, useRef, useState } from 'preact/hooks'
import { mayActAs } from '../../../api/console/roles.ts'
import type { ContainerCard, PodDetail } from '../../../api/console/work.ts'
import { csrfWord, errorOf, send } from '../http.ts'
import { Age, Badge, Failure, Panel } from '../parts/bits.tsx'
import type { OpenTerminal } from '../parts/terminal.ts'
import { keyPath, podsPath } from '../paths.ts'
import { linkTo, type Signed } from '../route.ts'
import { useAnswer } from '../use-answer.ts'
import { number, t } from '../words.ts'

interface Open {
  readonly what: 'logs' | 'terminal'
  readonly pod: string
  readonly container: string
  readonly containers: readonly string[]
}

/** What runs at a gateway, with a look inside: the log as it goes on, and a terminal. */
export function Pods({ session, gateway }: { readonly session: Signed; readonly gateway: string }) {
  const { value, error } = useAnswer<{ items: PodDetail[] }>(podsPath(session, gateway), 3_000)
  const [open, setOpen] = useState<Open | undefined>(undefined)
  const pods = (value?.items ?? []).toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1))
  if (pods.length === 0 && open === undefined) return error === undefined ? null : <Failure error={error} />
  return (
    <>
      <Panel
        title={t('pods')}
        aside={session.kind === 'cloud' ? <a href={linkTo('offload')}>{t('offload')}</a> : undefined}
      >
        <Failure error={error} />
        <div class="scroll-x" tabIndex={0} role="group" aria-label={t('pods')}>
          <table>
            <thead>
              <tr>
                <th scope="col">{t('name')}</th>
                <th scope="col">{t('state')}</th>
                <th scope="col" class="num wide-only">
                  {t('restarts')}
                </th>
                <th scope="col" class="wide-only">
                  {t('since')}
                </th>
                <th scope="col">
                  <span class="hidden">{t('lookInside')}</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {pods.map((pod) => (
                <PodRow
                  key={pod.uid}
                  pod={pod}
                  mayEnter={mayActAs(session.role, 'admin')}
                  onOpen={(what, container) =>
                    setOpen({ what, pod: keyOf(pod), container, containers: pod.containers.map(({ name }) => name) })
                  }
                />
              ))}
            </tbody>
          </table>
        </div>
      </Panel>
      {open === undefined ? null : open.what === 'logs' ? (
        <Logs key={open.pod} open={open} onClose={() => setOpen(undefined)} />
      ) : (
        <TerminalPanel key={`${open.pod} ${open.container}`} open={open} onClose={() => setOpen(undefined)} />
      )}
    </>
  )
}

const keyOf = ({ namespace, name }: PodDetail): string => `${namespace}/${name}`
const shortKey = (key: string): string => key.replace(/^default\//, '')

function PodRow({
  pod,
  mayEnter,
  onOpen,
}: {
  readonly pod: PodDetail
  readonly mayEnter: boolean
  readonly onOpen: (what: Open['what'], container: string) => void
}) {
  const { containers, leaving, message } = pod
  const name = shortKey(keyOf(pod))
  const ready = containers.filter((each) => each.ready).length
  const troubled = containers.find(({ state, reason }) => state !== 'running' && reason !== undefined)
  const trouble = message ?? wordsOf(troubled)
  const first = containers[0]?.name ?? ''
  const running = containers.find(({ state }) => state === 'running')
  return (
    <tr>
      <td>
        {name} <span class="muted small">{t('readyOf', { n: ready, all: containers.length })}</span>
        {trouble === undefined ? null : <p class="reason">{trouble}</p>}
      </td>
      <td>
        <Badge state={leaving ? 'ending' : pod.phase} />
      </td>
      <td class="num wide-only">{number(containers.reduce((sum, { restarts }) => sum + restarts, 0))}</td>
      <td class="wide-only">
        <Age at={pod.startedAt} />
      </td>
      <td class="num actions">
        <button type="button" aria-label={`${t('logs')}: ${name}`} onClick={() => onOpen('logs', first)}>
          {t('logs')}
        </button>{' '}
        {mayEnter ? (
          <button
            type="button"
            aria-label={`${t('terminal')}: ${name}`}
            disabled={running === undefined}
            onClick={() => onOpen('terminal', running?.name ?? first)}
          >
            {t('terminal')}
          </button>
        ) : null}
      </td>
    </tr>
  )
}

const wordsOf = (container: ContainerCard | undefined): string | undefined =>
  container === undefined
    ? undefined
    : [container.name, container.reason, container.message].filter((each) => each !== undefined).join(': ')

const MAX_LINES = 2_000
/** Lines come in bursts: the page is told a few times a second. */
const DRAW_EVERY_MS = 150

function Logs({ open, onClose }: { readonly open: Open; readonly onClose: () => void }) {
  const [container, setContainer] = useState(open.container)
  const [previous, setPrevious] = useState(false)
  const [follow, setFollow] = useState(true)
  const [lines, setLines] = useState<readonly string[]>([])
  const [error, setError] = useState<unknown>(undefined)
  const [over, setOver] = useState(false)
  const box = useRef<HTMLPreElement>(null)
  const closer = useRef<HTMLButtonElement>(null)
  useEffect(() => closer.current?.focus(), [])
  useEffect(() => {
    const stop = new AbortController()
    setLines([])
    setError(undefined)
    setOver(false)
    const query = `container=${encodeURIComponent(container)}&tail=500&follow=${!previous}&previous=${previous}`
    readLines(`/v1/pods/${keyPath(open.pod)}/logs?${query}`, stop.signal, (fresh) =>
      setLines((before) => [...before, ...fresh].slice(-MAX_LINES)),
    ).then(
      () => setOver(true),
      (thrown: unknown) => stop.signal.aborted || setError(thrown),
    )
    return () => stop.abort()
  }, [container, previous])
  useEffect(() => {
    if (follow) box.current?.scrollTo(0, box.current.scrollHeight)
  }, [lines, follow])
  return (
    <Panel
      title={`${t('logs')}: ${shortKey(open.pod)}`}
      aside={
        <div class="field">
          {open.containers.length < 2 ? null : (
            <select
              aria-label={t('container')}
              value={container}
              onChange={(event) => setContainer(event.currentTarget.value)}
            >
              {open.containers.map((each) => (
                <option key={each}>{each}</option>
              ))}
            </select>
          )}
          <label class="check">
            <input type="checkbox" checked={previous} onChange={(event) => setPrevious(event.currentTarget.checked)} />
            {t('previousRun')}
          </label>
          <label class="check">
            <input type="checkbox" checked={follow} onChange={(event) => setFollow(event.currentTarget.checked)} />
            {t('follow')}
          </label>
          <button type="button" ref={closer} onClick={onClose}>
            {t('close')}
          </button>
        </div>
      }
    >
      <Failure error={error} />
      <pre class="log" ref={box} tabIndex={0} role="log" aria-label={`${t('logs')}: ${shortKey(open.pod)}`}>
        {lines.map((line, at) => (
          <LogLine key={at} line={line} />
        ))}
      </pre>
      {over ? <p class="muted small foot">{t('logEnded')}</p> : null}
    </Panel>
  )
}

const STAMP = /^(\d{4}-\d\d-\d\dT(\d\d:\d\d:\d\d)\S*) ?(.*)$/s

function LogLine({ line }: { readonly line: string }) {
  const found = STAMP.exec(line)
  if (found === null) return <span>{`${line}\n`}</span>
  const [, stamp = '', , text = ''] = found
  const local = new Date(stamp)
  return (
    <span>
      <time class="muted" dateTime={stamp}>
        {local.toTimeString().slice(0, 8)}
      </time>{' '}
      {`${text}\n`}
    </span>
  )
}

/** Reads lines for as long as they come. */
async function readLines(path: string, signal: AbortSignal, take: (lines: readonly string[]) => void): Promise<void> {
  const answer = await send(path, { signal })
  if (!answer.ok || answer.body === null) throw await errorOf(answer)
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader()
  let rest = ''
  let fresh: string[] = []
  let timer: ReturnType<typeof setTimeout> | undefined
  const flush = () => {
    timer = undefined
    if (fresh.length > 0 && !signal.aborted) take(fresh)
    fresh = []
  }
  try {
    for (;;) {
      const { value, done } = await reader.read()
      if (done) break
      const lines = (rest + value).split('\n')
      rest = lines.pop() ?? ''
      fresh.push(...lines)
      if (fresh.length > MAX_LINES) fresh = fresh.slice(-MAX_LINES)
      timer ??= setTimeout(flush, DRAW_EVERY_MS)
    }
  } finally {
    clearTimeout(timer)
    if (rest !== '') fresh.push(rest)
    flush()
  }
}

type Stage = 'opening' | 'open' | { readonly code?: number; readonly message?: string }

function TerminalPanel({ open, onClose }: { readonly open: Open; readonly onClose: () => void }) {
  const box = useRef<HTMLDivElement>(null)
  const [stage, setStage] = useState<Stage>('opening')
  useEffect(() => {
    let terminal: OpenTerminal | undefined
    let wanted = true
    void import('../parts/terminal.ts').then(({ openTerminal }) => {
      if (!wanted || box.current === null) return
      const query = `container=${encodeURIComponent(open.container)}`
      terminal = openTerminal(box.current, {
        path: `/v1/pods/${keyPath(open.pod)}/terminal?${query}`,
        csrf: csrfWord(),
        onOpen: () => setStage('open'),
        onEnd: setStage,
      })
    })
    return () => {
      wanted = false
      terminal?.close()
    }
  }, [])
  return (
    <Panel
      title={`${t('terminal')}: ${shortKey(open.pod)}`}
      aside={
        <div class="field">
          <span class="muted small" role="status">
            {stageWords(stage)}
          </span>
          <button type="button" data-close onClick={onClose}>
            {t('close')}
          </button>
        </div>
      }
    >
      <div class="terminal" ref={box} />
    </Panel>
  )
}

function stageWords(stage: Stage): string {
  if (stage === 'opening') return t('opening')
  if (stage === 'open') return t('terminalHint')
  if (stage.code !== undefined) return t('terminalEnded', { code: stage.code })
  return stage.message === '' || stage.message === undefined
    ? t('terminalLost')
    : stage.message === 'refused'
      ? t('terminalRefused')
      : stage.message
}
