import { AttrsBuilder } from '../attrs.js';
import { call1, call2, callFunction, delayCall, ownPosition } from '../call.js';
import { concatLists } from '../compile-operators.js';
import { equalValues, lessThan } from '../equality.js';
import { NixError } from '../errors.js';
import { forceBool, forceFunction, forceInt, forceList, forceStringNoContext } from '../force.js';
import { noPos } from '../positions.js';
import { intern, sym } from '../symbols.js';
import { force, type List, PrimOp, type Slot, type Value } from '../values.js';
import { type Builtin, define } from './define.js';

const listArgument = (slot: Slot, which: string, builtin: string): List =>
  forceList(slot, noPos, `while evaluating the ${which} argument passed to builtins.${builtin}`);

const functionArgument = (slot: Slot, builtin: string): Value =>
  forceFunction(slot, noPos, `while evaluating the first argument passed to builtins.${builtin}`);

function elemAt(slot: Slot, indexSlot: Slot): Value {
  const index = forceInt(
    indexSlot,
    noPos,
    "while evaluating the second argument passed to 'builtins.elemAt'",
  );
  const list = forceList(slot, noPos, "while evaluating the first argument passed to 'builtins.elemAt'");
  if (index < 0 || index >= list.length) {
    throw new NixError(
      'eval',
      `'builtins.elemAt' called with index ${index} on a list of size ${list.length}`,
    );
  }
  return force(list[Number(index)]!);
}

function notEmpty(slot: Slot, builtin: string): List {
  const list = forceList(slot, noPos, `while evaluating the first argument passed to 'builtins.${builtin}'`);
  if (list.length === 0) throw new NixError('eval', `'builtins.${builtin}' called on an empty list`);
  return list;
}

function map(callee: Slot, slot: Slot): Value {
  const list = listArgument(slot, 'second', 'map');
  if (list.length === 0) return list;
  const called = functionArgument(callee, 'map');
  return list.map((item) => delayCall(called, item));
}

function filter(callee: Slot, slot: Slot): Value {
  const list = listArgument(slot, 'second', 'filter');
  if (list.length === 0) return list;
  const called = functionArgument(callee, 'filter');
  const kept = list.filter((item) =>
    forceBool(
      call1(called, item, noPos),
      noPos,
      'while evaluating the return value of the filtering function passed to builtins.filter',
    ),
  );
  return kept.length === list.length ? list : kept;
}

function elem(wanted: Slot, slot: Slot): Value {
  const list = listArgument(slot, 'second', 'elem');
  return list.some((item) => equalValues(wanted, item, noPos));
}

function concatListsOf(slot: Slot): Value {
  const list = listArgument(slot, 'first', 'concatLists');
  const context = 'while evaluating a value of the list passed to builtins.concatLists';
  return concatLists(list.map((item) => forceList(item, noPos, context)));
}

function foldl(callee: Slot, start: Slot, slot: Slot): Value {
  const called = functionArgument(callee, 'foldlStrict');
  const list = listArgument(slot, 'third', 'foldlStrict');
  if (list.length === 0) return force(start);
  let current: Slot = start;
  for (const item of list) current = call2(called, current, item, noPos);
  return force(current);
}

function anyOrAll(any: boolean, callee: Slot, slot: Slot): Value {
  const builtin = any ? 'any' : 'all';
  const called = functionArgument(callee, builtin);
  const context = `while evaluating the return value of the function passed to builtins.${builtin}`;
  for (const item of listArgument(slot, 'second', builtin)) {
    if (forceBool(call1(called, item, noPos), noPos, context) === any) return any;
  }
  return !any;
}

function genList(callee: Slot, lengthSlot: Slot): Value {
  const length = forceInt(
    lengthSlot,
    noPos,
    'while evaluating the second argument passed to builtins.genList',
  );
  if (length < 0) throw new NixError('eval', `cannot create list of size ${length}`);
  const called = functionArgument(callee, 'genList');
  return Array.from({ length: Number(length) }, (_, index) => delayCall(called, index));
}

/** Merge sort: stable, and sound for orders that are not orders. */
function mergeSort(list: readonly Slot[], less: (a: Slot, b: Slot) => boolean): Slot[] {
  if (list.length < 2) return [...list];
  const middle = list.length >> 1;
  const left = mergeSort(list.slice(0, middle), less);
  const right = mergeSort(list.slice(middle), less);
  const result: Slot[] = [];
  let i = 0;
  let j = 0;
  while (i < left.length && j < right.length) {
    result.push(less(right[j]!, left[i]!) ? right[j++]! : left[i++]!);
  }
  while (i < left.length) result.push(left[i++]!);
  while (j < right.length) result.push(right[j++]!);
  return result;
}

function sort(comparator: Slot, slot: Slot): Value {
  const list = listArgument(slot, 'second', 'sort');
  if (list.length === 0) return list;
  const called = functionArgument(comparator, 'sort');
  for (const item of list) force(item);
  const builtinOrder = called instanceof PrimOp && called.name === 'lessThan';
  return mergeSort(list, (a, b) => {
    if (builtinOrder) {
      return lessThan(force(a), force(b), 'while evaluating the ordering function passed to builtins.sort');
    }
    return forceBool(
      callFunction(called, [a, b], noPos),
      noPos,
      'while evaluating the return value of the sorting function passed to builtins.sort',
    );
  });
}

function partition(callee: Slot, slot: Slot): Value {
  const called = functionArgument(callee, 'partition');
  const right: Slot[] = [];
  const wrong: Slot[] = [];
  const context = 'while evaluating the return value of the partition function passed to builtins.partition';
  for (const item of listArgument(slot, 'second', 'partition')) {
    force(item);
    (forceBool(call1(called, item, noPos), noPos, context) ? right : wrong).push(item);
  }
  return new AttrsBuilder().add(sym.right, right).add(sym.wrong, wrong).finish();
}

function groupBy(callee: Slot, slot: Slot): Value {
  const called = functionArgument(callee, 'groupBy');
  const groups = new Map<number, Slot[]>();
  const context = 'while evaluating the return value of the grouping function passed to builtins.groupBy';
  for (const item of listArgument(slot, 'second', 'groupBy')) {
    const id = intern(forceStringNoContext(call1(called, item, noPos), noPos, context));
    const group = groups.get(id);
    if (group === undefined) groups.set(id, [item]);
    else group.push(item);
  }
  const builder = new AttrsBuilder();
  for (const [id, items] of groups) builder.add(id, items);
  return builder.finish();
}

function concatMap(callee: Slot, slot: Slot): Value {
  const called = functionArgument(callee, 'concatMap');
  const context = 'while evaluating the return value of the function passed to builtins.concatMap';
  const result: Slot[] = [];
  for (const item of listArgument(slot, 'second', 'concatMap')) {
    const values = call1(called, item, noPos);
    const pos = ownPosition(values) || ownPosition(called);
    for (const value of forceList(values, pos, context)) result.push(value);
  }
  return result;
}

/** Builtins on lists. */
export function listBuiltins(): Builtin[] {
  return [
    define('__elemAt', 2, (list, index) => elemAt(list!, index!)),
    define('__head', 1, (slot) => force(notEmpty(slot!, 'head')[0]!)),
    define('__tail', 1, (slot) => notEmpty(slot!, 'tail').slice(1)),
    define('map', 2, (callee, list) => map(callee!, list!)),
    define('__filter', 2, (callee, list) => filter(callee!, list!)),
    define('__elem', 2, (wanted, list) => elem(wanted!, list!)),
    define('__concatLists', 1, (lists) => concatListsOf(lists!)),
    define('__length', 1, (list) => listArgument(list!, 'first', 'length').length),
    define("__foldl'", 3, (callee, start, list) => foldl(callee!, start!, list!)),
    define('__any', 2, (callee, list) => anyOrAll(true, callee!, list!)),
    define('__all', 2, (callee, list) => anyOrAll(false, callee!, list!)),
    define('__genList', 2, (callee, length) => genList(callee!, length!)),
    define('__sort', 2, (comparator, list) => sort(comparator!, list!)),
    define('__partition', 2, (callee, list) => partition(callee!, list!)),
    define('__groupBy', 2, (callee, list) => groupBy(callee!, list!)),
    define('__concatMap', 2, (callee, list) => concatMap(callee!, list!)),
  ];
}
