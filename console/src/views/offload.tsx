import { useEffect, useRef, useState } from 'preact/hooks'
import { mayActAs } from '../../../api/console/roles.ts'
import type { ExplanationView, PlaceCard, PodCard, WorkView } from '../../../api/console/work.ts'
import type { PageProps } from '../app.tsx'
import { call } from '../http.ts'
import { Age, Badge, Bar, Facts, Failure, Loading, Panel, WhyField } from '../parts/bits.tsx'
import { Candidates, verdict } from '../parts/explanation.tsx'
import { keyPath } from '../paths.ts'
import { linkTo } from '../route.ts'
import { useAnswer } from '../use-answer.ts'
import { bytes, cores, count, figure, ofCores, percent, t, watts, word } from '../words.ts'

const keyOf = ({ namespace, name }: PodCard): string => `${namespace}/${name}`
const shortKey = (pod: PodCard): string => (pod.namespace === 'default' ? pod.name : keyOf(pod))
/** Pods without a place. */
const NOWHERE = ''

/** What runs where and why; a pod is moved by dragging it, or by choosing its gateway. */
export function OffloadPage({ session, id }: PageProps) {
  const { value, error, again } = useAnswer<WorkView>('/v1/work', 2_000)
  const [chosen, setChosen] = useState<string | undefined>(id === '' ? undefined : id)
  const [dragged, setDragged] = useState<PodCard | undefined>(undefined)
  const [refused, setRefused] = useState<{ readonly pod: string; readonly error: unknown } | undefined>(undefined)
  const [said, setSaid] = useState('')
  const mayMove = mayActAs(session.role, 'operator')
  const possible = usePossible(dragged)
  if (value === undefined) return error === undefined ? <Loading /> : <Failure error={error} />
  const { pods, places } = value
  const move = async (pod: PodCard, to: string, why: string) => {
    setRefused(undefined)
    if (pod.node === to) return
    try {
      await call(`/v1/pods/${keyPath(keyOf(pod))}/offload`, { method: 'POST', body: { to }, why })
      setSaid(t('movingTo', { pod: shortKey(pod), to }))
      again()
    } catch (thrown) {
      setRefused({ pod: keyOf(pod), error: thrown })
      setChosen(keyOf(pod))
    }
  }
  const waiting = pods.filter(({ node }) => node === undefined)
  const lane = (place: PlaceCard | undefined, own: readonly PodCard[]) => (
    <Lane
      key={place?.name ?? NOWHERE}
      place={place}
      pods={own}
      chosen={chosen}
      obstacles={place === undefined ? undefined : possible?.get(place.name)}
      dragged={dragged}
      mayMove={mayMove}
      onChoose={setChosen}
      onDrag={setDragged}
      onDrop={(to) => {
        if (dragged !== undefined) void move(dragged, to, '')
        setDragged(undefined)
      }}
    />
  )
  const shown = pods.find((pod) => keyOf(pod) === chosen)
  return (
    <>
      <div class="title">
        <h1>{t('offload')}</h1>
        <span class="muted">
          {t('podsOn', { pods: count('pods', pods.length - waiting.length), nodes: count('nodes', places.length) })}
        </span>
      </div>
      <p class="muted">{mayMove ? t('offloadHint') : t('offloadLook')}</p>
      <Failure error={error} />
      <p class="hidden" role="status">
        {said}
      </p>
      {places.length === 0 ? <p class="muted">{t('noGateways')}</p> : null}
      <div class="lanes">
        {waiting.length === 0 ? null : lane(undefined, waiting)}
        {places.map((place) =>
          lane(
            place,
            pods.filter(({ node }) => node === place.name),
          ),
        )}
      </div>
      {chosen === undefined ? null : (
        <Why
          key={chosen}
          pod={chosen}
          node={shown?.node}
          refused={refused?.pod === chosen ? refused.error : undefined}
          mayMove={mayMove}
          onMove={(pod, to, why) => void move(pod, to, why)}
          onClose={() => setChosen(undefined)}
        />
      )}
    </>
  )
}

/** While a pod is dragged: what speaks against each place. */
function usePossible(dragged: PodCard | undefined): ReadonlyMap<string, readonly string[]> | undefined {
  const [found, setFound] = useState<ReadonlyMap<string, readonly string[]> | undefined>(undefined)
  useEffect(() => {
    setFound(undefined)
    if (dragged === undefined) return
    const over = new AbortController()
    call<ExplanationView>(`/v1/pods/${keyPath(keyOf(dragged))}/explain`, { signal: over.signal }).then(
      ({ candidates }) => setFound(new Map(candidates.map(({ node, obstacles }) => [node, obstacles]))),
      // Without it everything may be tried: the drop is checked again.
      () => {},
    )
    return () => over.abort()
  }, [dragged?.uid])
  return found
}

interface LaneProps {
  readonly place: PlaceCard | undefined
  readonly pods: readonly PodCard[]
  readonly chosen: string | undefined
  readonly dragged: PodCard | undefined
  readonly obstacles: readonly string[] | undefined
  readonly mayMove: boolean
  readonly onChoose: (pod: string) => void
  readonly onDrag: (pod: PodCard | undefined) => void
  readonly onDrop: (to: string) => void
}

function Lane(props: LaneProps) {
  const { place, pods, dragged, obstacles, onDrop } = props
  const [over, setOver] = useState(false)
  const title = place?.name ?? t('withoutPlace')
  const blocked = dragged !== undefined && dragged.node !== place?.name && (obstacles?.length ?? 0) > 0
  const target = dragged !== undefined && place !== undefined && dragged.node !== place.name && !blocked
  const state = `${over && target ? ' over' : ''}${target ? ' target' : ''}${blocked ? ' blocked' : ''}`
  return (
    <section
      class={`panel lane${state}`}
      aria-label={title}
      onDragOver={(event) => {
        if (!target) return
        event.preventDefault()
        setOver(true)
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault()
        setOver(false)
        if (place !== undefined) onDrop(place.name)
      }}
    >
      <header>
        <h2>{place?.gateway === true ? <a href={linkTo('gateway', place.name)}>{place.name}</a> : title}</h2>
        {place === undefined ? null : <Badge state={place.ready ? (place.closed ? 'closed' : 'online') : 'offline'} />}
      </header>
      {place === undefined ? null : <PlaceFacts place={place} />}
      {blocked ? <p class="reason">{obstacles?.join('; ')}</p> : null}
      {pods.length === 0 ? <p class="muted small">{t('noPods')}</p> : null}
      <ul class="pods">
        {pods.map((pod) => (
          <PodChip key={pod.uid} pod={pod} {...props} />
        ))}
      </ul>
    </section>
  )
}

function PlaceFacts({ place }: { readonly place: PlaceCard }) {
  const { cpuMilli, memoryBytes, batteryPercent, watts: takes, wattsSource, roundTripMs, location, devices } = place
  const words = [
    takes === undefined ? undefined : `${wattsSource === 'estimated' ? '~' : ''}${watts(takes)}`,
    batteryPercent === undefined ? undefined : `${t('battery')} ${figure(batteryPercent, '%', 0)}`,
    roundTripMs === undefined ? undefined : figure(roundTripMs, 'ms'),
    devices === 0 ? undefined : count('devices', devices),
    location,
  ].filter((each) => each !== undefined)
  const room = (title: string, { requested, allocatable }: PlaceCard['cpuMilli'], write: (value: number) => string) => (
    <>
      <span class="muted">{title}</span>
      <Bar
        share={requested / allocatable}
        label={t('ofRoom', { used: shareWords(requested, allocatable), all: write(allocatable) })}
        warnAt={0.9}
      />
    </>
  )
  return (
    <>
      {words.length === 0 ? null : <p class="muted small">{words.join(' · ')}</p>}
      {cpuMilli.allocatable <= 0 ? (
        <p class="muted small">{t('devicesOnly')}</p>
      ) : (
        <div class="rooms small">
          {room(t('processor'), cpuMilli, ofCores)}
          {room(t('memory'), memoryBytes, bytes)}
        </div>
      )}
    </>
  )
}

const shareWords = (part: number, whole: number): string => percent(part / whole, part / whole < 0.1 ? 1 : 0)

function PodChip({ pod, chosen, dragged, mayMove, onChoose, onDrag }: LaneProps & { readonly pod: PodCard }) {
  const key = keyOf(pod)
  const state = pod.problems.length > 0 ? 'invalid' : pod.leaving ? 'ending' : pod.phase
  return (
    <li>
      <button
        type="button"
        class={`pod${dragged?.uid === pod.uid ? ' dragged' : ''}`}
        aria-pressed={chosen === key}
        draggable={mayMove && !pod.leaving}
        onClick={() => onChoose(key)}
        onDragStart={(event) => {
          event.dataTransfer?.setData('text/plain', key)
          // The browser has to have taken its picture of the chip before anything changes.
          requestAnimationFrame(() => onDrag(pod))
        }}
        onDragEnd={() => onDrag(undefined)}
      >
        <span class="pod-name">{shortKey(pod)}</span>
        <Badge state={state} />
        {pod.offloadTo === undefined || pod.offloadTo === pod.node ? null : (
          <span class="small muted">→ {pod.offloadTo}</span>
        )}
        {pod.intents.length === 0 ? null : (
          <span class="intents">
            {pod.intents.map(({ name, text, hard }) => (
              <span key={name} class={`intent${hard ? ' hard' : ''}`}>
                {name} {text}
              </span>
            ))}
          </span>
        )}
      </button>
    </li>
  )
}

interface WhyProps {
  readonly pod: string
  readonly node: string | undefined
  readonly refused: unknown
  readonly mayMove: boolean
  readonly onMove: (pod: PodCard, to: string, why: string) => void
  readonly onClose: () => void
}

/** Why a pod is where it is, candidate by candidate, as `sluice explain` says it. */
function Why({ pod: key, node, refused, mayMove, onMove, onClose }: WhyProps) {
  const { value, error } = useAnswer<ExplanationView>(`/v1/pods/${keyPath(key)}/explain`, 4_000)
  const panel = useRef<HTMLDivElement>(null)
  useEffect(() => {
    panel.current?.scrollIntoView({ block: 'nearest' })
    const first = panel.current?.querySelector<HTMLElement>('form select') ?? panel.current?.querySelector('button')
    first?.focus({ preventScroll: true })
  }, [value === undefined])
  const title = t(node === undefined ? 'whyNowhere' : 'whyThere', { pod: key.replace(/^default\//, '') })
  return (
    <div ref={panel}>
      <Panel
        title={title}
        aside={
          <button type="button" onClick={onClose}>
            {t('close')}
          </button>
        }
      >
        <Failure error={refused ?? error} />
        {value === undefined ? (
          error === undefined ? (
            <Loading />
          ) : null
        ) : (
          <>
            <Facts items={factsOf(value, node)} />
            {value.pod.problems.map(({ message, hint }) => (
              <p key={message} class="failure">
                {message} {hint}
              </p>
            ))}
            {mayMove && value.pod.problems.length === 0 ? <Mover value={value} onMove={onMove} /> : null}
            <Candidates value={value} />
            <p class="muted">{verdict(value)}</p>
          </>
        )}
      </Panel>
    </div>
  )
}

function factsOf({ pod, because, waitUntil }: ExplanationView, node: string | undefined) {
  const { intents, owner, cpuMilli, memoryBytes, phase } = pod
  const words = intents.map(({ name, text, hard }) => `${name} ${text}${hard ? '' : ` (${t('wish')})`}`)
  return [
    [t('runsOn'), node === undefined ? t('nowhere') : `${node} · ${word(phase)}`] as const,
    ...(because === undefined ? [] : [[t('chosenWith'), because] as const]),
    [t('intents'), words.length === 0 ? t('none') : words.join(', ')] as const,
    [t('asks'), cpuMilli + memoryBytes === 0 ? '–' : `${cores(cpuMilli)}, ${bytes(memoryBytes)}`] as const,
    ...(owner === undefined ? [] : [[t('madeBy'), owner] as const]),
    ...(waitUntil === undefined ? [] : [[t('waitsUntil'), <Age at={waitUntil} />] as const]),
  ]
}

/** The same as dragging, for the keyboard and for fingers. */
function Mover({
  value,
  onMove,
}: {
  readonly value: ExplanationView
  readonly onMove: (pod: PodCard, to: string, why: string) => void
}) {
  const { pod, candidates } = value
  const others = candidates.filter(({ node }) => node !== pod.node).toSorted((a, b) => (a.node < b.node ? -1 : 1))
  const [to, setTo] = useState('')
  const [why, setWhy] = useState('')
  const wanted = to === '' ? (others.find(({ obstacles }) => obstacles.length === 0)?.node ?? '') : to
  return (
    <form
      class="field mover"
      onSubmit={(event) => {
        event.preventDefault()
        if (wanted !== '') onMove(pod, wanted, why)
      }}
    >
      <label>
        {t('moveTo')}{' '}
        <select value={wanted} onChange={(event) => setTo(event.currentTarget.value)}>
          {wanted === '' ? <option value="">–</option> : null}
          {others.map(({ node, obstacles }) => (
            <option key={node} value={node} disabled={obstacles.length > 0}>
              {node}
              {obstacles.length > 0 ? ` (${obstacles[0]})` : ''}
            </option>
          ))}
        </select>
      </label>
      <WhyField why={why} onInput={setWhy} />
      <button type="submit" class="primary" disabled={wanted === ''}>
        {t('move')}
      </button>
    </form>
  )
}
