/* SPDX-License-Identifier: MIT */
#include "support.h"

#include "list.h"

struct item {
    int number;
    struct list link;
};

static void assert_numbers(struct list *head, const int *numbers, size_t count)
{
    struct list *link = head;

    for (size_t i = 0; i < count; i++) {
        link = link->next;
        assert_int_equal(LIST_ENTRY(link, struct item, link)->number, numbers[i]);
        assert_ptr_equal(link->prev->next, link);
        assert_ptr_equal(link->next->prev, link);
    }
    assert_ptr_equal(link->next, head);
    assert_ptr_equal(head->prev, link);
}

static void a_new_list_is_empty(void **state)
{
    struct list head = LIST_INIT(head), other;

    (void)state;
    list_init(&other);
    assert_true(list_is_empty(&head));
    assert_true(list_is_empty(&other));
}

static void append_keeps_the_order(void **state)
{
    struct list head = LIST_INIT(head);
    struct item items[3] = {{.number = 1}, {.number = 2}, {.number = 3}};

    (void)state;
    for (size_t i = 0; i < 3; i++)
        list_append(&head, &items[i].link);
    assert_false(list_is_empty(&head));
    assert_numbers(&head, (const int[]){1, 2, 3}, 3);
}

static void insert_after_comes_next(void **state)
{
    struct list head = LIST_INIT(head);
    struct item items[3] = {{.number = 1}, {.number = 2}, {.number = 3}};

    (void)state;
    list_insert_after(&head, &items[0].link);
    list_insert_after(&head, &items[1].link);
    list_insert_after(&items[1].link, &items[2].link);
    assert_numbers(&head, (const int[]){2, 3, 1}, 3);
}

static void an_item_can_be_removed_twice_and_put_back(void **state)
{
    struct list head = LIST_INIT(head);
    struct item items[3] = {{.number = 1}, {.number = 2}, {.number = 3}};

    (void)state;
    for (size_t i = 0; i < 3; i++)
        list_append(&head, &items[i].link);
    list_remove(&items[1].link);
    assert_numbers(&head, (const int[]){1, 3}, 2);
    list_remove(&items[1].link);
    assert_numbers(&head, (const int[]){1, 3}, 2);
    list_append(&head, &items[1].link);
    assert_numbers(&head, (const int[]){1, 3, 2}, 3);
    for (size_t i = 0; i < 3; i++)
        list_remove(&items[i].link);
    assert_true(list_is_empty(&head));
}

static const struct CMUnitTest tests[] = {
    TEST(a_new_list_is_empty),
    TEST(append_keeps_the_order),
    TEST(insert_after_comes_next),
    TEST(an_item_can_be_removed_twice_and_put_back),
};

int main(void)
{
    return TEST_MAIN(tests);
}
