/* Finds the node-table rows of the names in a JSON array, byte by byte, without making text of them.

   An index has the names that stand in JSON as they are. A list is taken only if each of its names is one of them, so
   whatever else is valid or wrong in JSON is left to the decoder. Nothing here knows of tables, bodies or HTTP. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    uint32_t hash;
    int32_t row; /* NONE: a search ends here. A row may have got another name since: its name decides */
} Slot;

enum { NONE = -1, FEWEST_SLOTS = 256 };

typedef struct {
    PyObject_HEAD
    PyObject **names; /* by row; NULL for none */
    Py_ssize_t rows;
    Slot *slots;
    size_t mask;
    size_t used;
    Py_ssize_t *found;
    Py_ssize_t room;
} Index;

static uint64_t
mixed(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
    return hash ^ (hash >> 32);
}

/* No seed: how long a search takes depends on the names in the index alone, which are the cluster's. */
static uint32_t
hash_of(const char *text, size_t length)
{
    uint64_t hash = length, word = 0;
    if (length < sizeof word) {
        for (size_t i = 0; i < length; i++)
            word = word << 8 | (unsigned char)text[i];
        return (uint32_t)mixed(hash, word);
    }
    for (size_t i = 0; i + sizeof word < length; i += sizeof word) {
        memcpy(&word, text + i, sizeof word);
        hash = mixed(hash, word);
    }
    memcpy(&word, text + length - sizeof word, sizeof word);
    return (uint32_t)mixed(hash, word);
}

static int32_t
row_of(const Index *self, const char *text, size_t length)
{
    const uint32_t hash = hash_of(text, length);
    for (size_t at = hash & self->mask; self->slots[at].row != NONE; at = (at + 1) & self->mask) {
        if (self->slots[at].hash != hash)
            continue;
        PyObject *name = self->names[self->slots[at].row];
        if (name != NULL && (size_t)PyUnicode_GET_LENGTH(name) == length
            && memcmp(PyUnicode_1BYTE_DATA(name), text, length) == 0)
            return self->slots[at].row;
    }
    return NONE;
}

/* Whether JSON has the name as it is, between quotes. */
static int
is_plain(PyObject *name)
{
    if (!PyUnicode_CheckExact(name) || !PyUnicode_IS_COMPACT_ASCII(name))
        return 0;
    const Py_UCS1 *text = PyUnicode_1BYTE_DATA(name);
    const Py_ssize_t length = PyUnicode_GET_LENGTH(name);
    for (Py_ssize_t i = 0; i < length; i++)
        if (text[i] < 0x20 || text[i] == '"' || text[i] == '\\')
            return 0;
    return length > 0;
}

static void
put(Index *self, Py_ssize_t row, PyObject *name)
{
    if (!is_plain(name)) {
        Py_CLEAR(self->names[row]);
        return;
    }
    Py_XSETREF(self->names[row], Py_NewRef(name));
    const uint32_t hash = hash_of((const char *)PyUnicode_1BYTE_DATA(name), (size_t)PyUnicode_GET_LENGTH(name));
    size_t at = hash & self->mask;
    while (self->slots[at].row != NONE)
        at = (at + 1) & self->mask;
    self->slots[at] = (Slot){hash, (int32_t)row};
    self->used++;
}

static void
index_dealloc(Index *self)
{
    PyTypeObject *type = Py_TYPE(self);
    if (self->names != NULL)
        for (Py_ssize_t row = 0; row < self->rows; row++)
            Py_XDECREF(self->names[row]);
    PyMem_Free(self->names);
    PyMem_Free(self->slots);
    PyMem_Free(self->found);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *
index_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *names;
    if (kwargs != NULL && PyDict_GET_SIZE(kwargs) > 0) {
        PyErr_SetString(PyExc_TypeError, "Index takes no keywords");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "O!:Index", &PyList_Type, &names))
        return NULL;
    const Py_ssize_t count = PyList_GET_SIZE(names);
    if (count > INT32_MAX / 8) {
        PyErr_SetString(PyExc_OverflowError, "too many names");
        return NULL;
    }
    Index *self = (Index *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    size_t slots = FEWEST_SLOTS;
    while (slots < 3 * (size_t)count)
        slots *= 2;
    self->mask = slots - 1;
    self->rows = (Py_ssize_t)(slots / 2);
    self->names = PyMem_Calloc((size_t)self->rows, sizeof *self->names);
    self->slots = PyMem_Malloc(slots * sizeof *self->slots);
    if (self->names == NULL || self->slots == NULL) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    for (size_t at = 0; at < slots; at++)
        self->slots[at].row = NONE;
    for (Py_ssize_t row = 0; row < count; row++)
        put(self, row, PyList_GET_ITEM(names, row));
    return (PyObject *)self;
}

static PyObject *
index_put(Index *self, PyObject *args)
{
    Py_ssize_t row;
    PyObject *name;
    if (!PyArg_ParseTuple(args, "nU:put", &row, &name))
        return NULL;
    /* Half of the slots stay unused, so that a search is short and ends. */
    if (row < 0 || row >= self->rows || self->used >= (self->mask + 1) / 2)
        Py_RETURN_FALSE;
    put(self, row, name);
    Py_RETURN_TRUE;
}

static const char *
past_space(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t'))
        at++;
    return at;
}

static PyObject *
index_find(Index *self, PyObject *json)
{
    if (!PyBytes_Check(json)) {
        PyErr_SetString(PyExc_TypeError, "find takes bytes");
        return NULL;
    }
    const char *at = PyBytes_AS_STRING(json);
    const char *const end = at + PyBytes_GET_SIZE(json);
    Py_ssize_t count = 0;
    char before = '[';
    do {
        at = past_space(at, end);
        if (at == end || *at != before)
            Py_RETURN_NONE;
        at = past_space(at + 1, end);
        if (at == end || *at != '"')
            Py_RETURN_NONE;
        at++;
        const char *close = memchr(at, '"', (size_t)(end - at));
        const int32_t row = close == NULL ? NONE : row_of(self, at, (size_t)(close - at));
        if (row == NONE)
            Py_RETURN_NONE;
        if (count == self->room) {
            const Py_ssize_t room = self->room ? 2 * self->room : 512;
            Py_ssize_t *found = PyMem_Realloc(self->found, (size_t)room * sizeof *found);
            if (found == NULL)
                return PyErr_NoMemory();
            self->found = found;
            self->room = room;
        }
        self->found[count++] = row;
        at = past_space(close + 1, end);
        before = ',';
    } while (at == end || *at != ']');
    if (past_space(at + 1, end) != end)
        Py_RETURN_NONE;
    return PyBytes_FromStringAndSize((const char *)self->found, count * (Py_ssize_t)sizeof *self->found);
}

static PyMethodDef index_methods[] = {
    {"put", (PyCFunction)index_put, METH_VARARGS, "The row has this name now, \"\" for none. False: full, make another."},
    {"find", (PyCFunction)index_find, METH_O, "The rows of a JSON array's names, as intp; None where it cannot tell."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot index_slots[] = {
    {Py_tp_doc, "Rows by name. Index(names): the position of each is its row, \"\" is none."},
    {Py_tp_new, index_new},
    {Py_tp_dealloc, index_dealloc},
    {Py_tp_methods, index_methods},
    {0, NULL},
};

static PyType_Spec index_spec = {
    .name = "extender.wire._names.Index",
    .basicsize = sizeof(Index),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = index_slots,
};

static int
names_exec(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &index_spec, NULL);
    if (type == NULL)
        return -1;
    const int result = PyModule_AddObjectRef(module, "Index", type);
    Py_DECREF(type);
    return result;
}

static PyModuleDef_Slot names_slots[] = {
    {Py_mod_exec, names_exec},
    {0, NULL},
};

static struct PyModuleDef names_module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_names",
    .m_size = 0,
    .m_slots = names_slots,
};

PyMODINIT_FUNC
PyInit__names(void)
{
    return PyModuleDef_Init(&names_module);
}
