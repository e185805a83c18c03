import { Component, type ComponentChildren } from 'preact'
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { sortable } from '../../../api/natural-order.ts'
import { t } from '../words.ts'

export interface Column<T> {
  readonly id: string
  readonly title: string
  readonly cell: (row: T) => ComponentChildren
  /** Absent: not sortable. */
  readonly sort?: (row: T) => string | number
  readonly numeric?: boolean
}

export interface VirtualTableProps<T extends object> {
  readonly label: string
  readonly rows: readonly T[]
  readonly columns: readonly Column<T>[]
  readonly keyOf: (row: T) => string
  readonly hrefOf: (row: T) => string
  /** What the filter looks at. */
  readonly text: (row: T) => string
  readonly empty: string
  /** How many rows there are, while only the first of them are known. */
  readonly total?: number | undefined
  readonly dull?: (row: T) => boolean
  /** Lines that a row has where the page is narrow. Default: 2. */
  readonly narrowLines?: 2 | 3
}

const ROW_PX = 40
const NARROW_ROW_PX = { 2: 68, 3: 92 } as const
/** Rows come and go by the block: most frames of scrolling then change nothing, and the browser moves what it has painted. */
const BLOCK_ROWS = 4
/** How far beyond what is in sight rows are there: as far as a quick wheel goes in one frame. */
const SPARE_ROWS = 6

/** A table of any length: only the rows in sight are in the page. Filtered by words, sorted by a column. */
export function VirtualTable<T extends object>(props: VirtualTableProps<T>) {
  const { rows, columns, keyOf, hrefOf, text, label } = props
  const [filter, setFilter] = useState('')
  const [order, setOrder] = useState<{ readonly id: string; readonly down: boolean }>({
    id: columns[0]!.id,
    down: false,
  })
  const narrow = useNarrow()
  const rowPx = narrow ? NARROW_ROW_PX[props.narrowLines ?? 2] : ROW_PX
  const { box, first, last } = useBlocksInSight(BLOCK_ROWS * rowPx, SPARE_ROWS * rowPx)
  const { kept, sorted } = useMemo(() => {
    const words = filter
      .toLowerCase()
      .split(/\s+/)
      .filter((each) => each !== '')
    const fits = (row: T) => words.every((each) => text(row).toLowerCase().includes(each))
    const kept = words.length === 0 ? rows : rows.filter(fits)
    const column = columns.find(({ id }) => id === order.id)
    return { kept, sorted: column?.sort === undefined ? kept : byColumn(kept, column.sort, order.down) }
  }, [rows, filter, order])
  const end = Math.min(last + 1, Math.ceil(sorted.length / BLOCK_ROWS))
  const blocks = Array.from({ length: Math.max(0, end - first) }, (_, index) => first + index)
  return (
    <div class="vtable">
      <div class="tools">
        <label>
          <span class="hidden">{t('filter')}</span>
          <input
            type="search"
            placeholder={t('filterHint')}
            value={filter}
            onInput={(event) => setFilter(event.currentTarget.value)}
          />
        </label>
        <span class="muted" role="status">
          {t('of', { n: kept === rows ? (props.total ?? rows.length) : kept.length, all: props.total ?? rows.length })}
        </span>
      </div>
      <div
        class={`scroller ${columns.map(({ id }) => `with-${id}`).join(' ')}`}
        ref={box}
        role="table"
        aria-label={label}
        aria-rowcount={sorted.length + 1}
        tabIndex={0}
      >
        <div class="row head" role="row" aria-rowindex={1}>
          {columns.map(({ id, title, sort: sortable, numeric }) => (
            <div
              key={id}
              role="columnheader"
              class={`cell c-${id}${numeric ? ' num' : ''}`}
              aria-sort={order.id !== id ? 'none' : order.down ? 'descending' : 'ascending'}
            >
              {sortable === undefined ? (
                title
              ) : (
                <button
                  type="button"
                  class="sort"
                  onClick={() => setOrder({ id, down: order.id === id && !order.down })}
                >
                  {title}
                  <span aria-hidden="true">{order.id !== id ? '' : order.down ? ' ↓' : ' ↑'}</span>
                </button>
              )}
            </div>
          ))}
        </div>
        {sorted.length === 0 ? (
          <p class="muted pad">{rows.length === 0 ? props.empty : t('noMatch')}</p>
        ) : (
          <div
            class="rows"
            role="rowgroup"
            style={{ height: `${sorted.length * rowPx}px`, '--row-height': `${rowPx}px` }}
          >
            {blocks.map((block) => (
              <div key={block} class="block" role="none" style={{ top: `${block * BLOCK_ROWS * rowPx}px` }}>
                {sorted.slice(block * BLOCK_ROWS, (block + 1) * BLOCK_ROWS).map((row, index) => (
                  <Row
                    key={keyOf(row)}
                    row={row}
                    at={block * BLOCK_ROWS + index + 2}
                    columns={columns}
                    href={hrefOf(row)}
                    dull={props.dull?.(row) === true}
                  />
                ))}
              </div>
            ))}
          </div>
        )}
      </div>
    </div>
  )
}

interface RowProps<T> {
  readonly row: T
  /** Counted from 1, the head included. */
  readonly at: number
  readonly columns: readonly Column<T>[]
  readonly href: string
  readonly dull: boolean
}

/** What is shown of a row depends on the row and its columns alone: one that stays the same is not drawn again. */
class Row<T> extends Component<RowProps<T>> {
  override shouldComponentUpdate({ row, at, columns, href, dull }: RowProps<T>): boolean {
    const { props } = this
    return (
      row !== props.row || at !== props.at || columns !== props.columns || href !== props.href || dull !== props.dull
    )
  }

  override render({ row, at, columns, href, dull }: RowProps<T>) {
    return (
      <div role="row" aria-rowindex={at} class={`row${dull ? ' dull' : ''}`}>
        {columns.map(({ id, title, cell, numeric }, index) => (
          <div key={id} role="cell" class={`cell c-${id}${numeric ? ' num' : ''}`} data-title={title}>
            {index === 0 ? <a href={href}>{cell(row)}</a> : cell(row)}
          </div>
        ))}
      </div>
    )
  }
}

const keyOf = (key: string | number): string | number => (typeof key === 'number' ? key : sortable(key))

type Keys = WeakMap<object, string | number>
/** Of each column, by row. A row that changed is another object, and all others keep their keys: most of sorting is making them. */
const keysOf = new WeakMap<object, Keys>()

function byColumn<T extends object>(rows: readonly T[], sort: (row: T) => string | number, down: boolean): T[] {
  const known: Keys = keysOf.get(sort) ?? new WeakMap()
  keysOf.set(sort, known)
  const keyed = rows.map((row) => {
    let key = known.get(row)
    if (key === undefined) known.set(row, (key = keyOf(sort(row))))
    return { key, row }
  })
  const sign = down ? -1 : 1
  keyed.sort((a, b) => (a.key < b.key ? -sign : a.key > b.key ? sign : 0))
  return keyed.map(({ row }) => row)
}

export function useNarrow(): boolean {
  const query = '(max-width: 760px)'
  const [narrow, setNarrow] = useState(() => matchMedia(query).matches)
  useEffect(() => {
    const media = matchMedia(query)
    const changed = () => setNarrow(media.matches)
    media.addEventListener('change', changed)
    return () => media.removeEventListener('change', changed)
  }, [])
  return narrow
}

/** The blocks in sight and a little more, told only when they are others. */
function useBlocksInSight(blockPx: number, sparePx: number) {
  const box = useRef<HTMLDivElement>(null)
  const [inSight, setInSight] = useState({ first: 0, last: Math.floor((800 + sparePx) / blockPx) })
  useEffect(() => {
    const element = box.current
    if (element === null) return
    let asked: number | undefined
    const look = () => {
      asked = undefined
      const { scrollTop, clientHeight } = element
      const first = Math.max(0, Math.floor((scrollTop - sparePx) / blockPx))
      const last = Math.floor((scrollTop + clientHeight + sparePx) / blockPx)
      setInSight((before) => (before.first === first && before.last === last ? before : { first, last }))
    }
    const ask = () => {
      asked ??= requestAnimationFrame(look)
    }
    const resized = new ResizeObserver(ask)
    resized.observe(element)
    element.addEventListener('scroll', ask, { passive: true })
    return () => {
      if (asked !== undefined) cancelAnimationFrame(asked)
      resized.disconnect()
      element.removeEventListener('scroll', ask)
    }
  }, [blockPx, sparePx])
  return { box, ...inSight }
}
